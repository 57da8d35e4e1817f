#!/usr/bin/env python3
"""Prometheus and Alertmanager watch a recorder and who looks on: a killed one fires, one that runs again resolves, and what is told is as they want it.

usage: prometheus.py BINARY

Needs prometheus, promtool and prometheus-alertmanager (Debian: prometheus, prometheus-alertmanager); without them it is skipped.
"""

import http.server
import json
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from harness import PROJECT, alive, check, hold, script, wait_until

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "src/docs/overnight.rules.yml"
TYPES, SERIES = 5000, 600
# In milliseconds; the program may be an unoptimized one, on a machine that is busy.
SCRAPE = 50
TOOLS = ["prometheus", "promtool", "prometheus-alertmanager"]


class World:
    """A recorder, and those who watch it."""

    def __init__(self, product):
        self.product, self.heard = product, []
        self.metrics, self.page, self.prometheus, self.alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(4))
        self.cloud = product.simulate("--rate", 100, "--devices", 20, "--history", "0s")
        self.recorder = self.record()
        self.watcher = product.start("watch", "--page", self.page, "--dir", "night")

    def record(self):
        args = ["--api-url", self.cloud, "--project", PROJECT, "--metrics", self.metrics, "--dir", "night"]
        process = self.product.start("record", *args)
        wait_until("the recorder tells its metrics", lambda: alive(process) or (self.told() if answers(self.metrics) else None))
        return process

    def told(self, address=None):
        return get(f"http://{address or self.metrics}/metrics")

    def listen(self):
        """Hears what Alertmanager posts; gives where."""
        world = self

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                world.heard += [(alert["labels"]["alertname"], alert["status"]) for alert in said["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    def watch(self):
        """Starts Prometheus and Alertmanager, with the rules that come along, in a hurry."""
        folder = self.product.folder
        (folder / "rules.yml").write_text(RULES.read_text().replace("for: 1m", "for: 1s"))
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            "rule_files: [rules.yml]\n"
            f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{self.alertmanager}']}}]}}]}}\n"
            f"scrape_configs: [{{job_name: overnight, static_configs: [{{targets: ['{self.metrics}', '{self.page}']}}]}}]\n"
        )
        (folder / "alertmanager.yml").write_text(
            "route: {receiver: hook, group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{self.listen()}', send_resolved: true}}]}}]\n"
        )
        self.tool("prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts",
                  f"--web.listen-address={self.alertmanager}", "--cluster.listen-address=")
        self.tool("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=series", "--rules.alert.resend-delay=1s",
                  f"--web.listen-address={self.prometheus}")
        wait_until("Alertmanager is there", lambda: answers(self.alertmanager))
        wait_until("Prometheus has scraped both", lambda: alive(self.watcher) or self.ask('up{job="overnight"}') == [1.0, 1.0])

    def tool(self, *command):
        said = open(self.product.folder / f"{command[0]}.log", "wb")
        process = subprocess.Popen(command, cwd=self.product.folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        self.product.started.append(process)

    def ask(self, query):
        if not answers(self.prometheus):
            return []
        found = json.loads(get(f"http://{self.prometheus}/api/v1/query?query={urllib.request.quote(query)}"))
        return [float(one["value"][1]) for one in found["data"]["result"]]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def answers(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def promtool(*args, text=None):
    done = subprocess.run(["promtool", *map(str, args)], input=text, capture_output=True, text=True, timeout=30)
    check(done.returncode == 0 and not done.stderr.strip(), f"promtool {args[0]} {args[1]}: {done.stdout}{done.stderr}")


def series(text):
    return [line for line in text.splitlines() if not line.startswith("#")]


def promtool_has_nothing_to_say_about_names_kinds_and_help(world):
    wait_until("events are told", lambda: "overnight_events_kept_total{" in world.told())
    promtool("check", "metrics", text=world.told())
    promtool("check", "metrics", text=wait_until("the watcher tells", lambda: answers(world.page) and world.told(world.page)))


def promtool_takes_the_rules_and_they_fire_when_they_should(_):
    promtool("check", "rules", RULES)
    promtool("test", "rules", ROOT / "tests/python/rules.test.yml")


def a_recorder_that_runs_is_scraped_and_fires_nothing(world):
    world.watch()
    wait_until("events arrive", lambda: any(rate > 10 for rate in world.ask("sum(rate(overnight_events_kept_total[5s]))")))
    wait_until("both say that it is connected", lambda: world.ask("overnight_project_connected") == [1.0, 1.0])
    silence = world.ask("time() - overnight_project_sign_of_life_timestamp_seconds")
    check(len(silence) == 2 and max(silence) < 40, f"seconds of silence: {silence}")
    check(world.heard == [], f"fired: {world.heard}")


def a_recorder_that_is_killed_fires_and_one_that_runs_again_resolves(world):
    begun = time.monotonic()
    world.recorder.kill()
    world.recorder.wait()
    wait_until("that it does not answer", lambda: ("OvernightDown", "firing") in world.heard, 30)
    wait_until("that nobody records", lambda: ("OvernightNotRecording", "firing") in world.heard, 30)
    fired = time.monotonic() - begun
    world.recorder = world.record()
    begun = time.monotonic()
    ends = {("OvernightDown", "resolved"), ("OvernightNotRecording", "resolved")}
    wait_until("the end of both", lambda: ends <= set(world.heard), 30)
    print(f"        fired after {fired:.1f} s, resolved {time.monotonic() - begun:.1f} s after the recorder was back")
    check({name for name, _ in world.heard} == {name for name, _ in ends}, f"heard: {world.heard}")


def five_thousand_event_types_are_few_series_and_a_scrape_is_quick(world):
    lines = world.product.folder / "types.ndjson"
    now = time.time()
    with open(lines, "w") as out:
        for number in range(TYPES):
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{number:06d}Z"
            out.write(json.dumps({
                "eventId": f"e{number}", "targetName": f"projects/{PROJECT}/devices/d{number}", "eventType": f"kind{number}",
                "data": {f"kind{number}": {"value": number, "updateTime": at}}, "timestamp": at,
            }) + "\n")
    cloud = world.product.simulate("--replay", lines)
    address = f"127.0.0.1:{free_port()}"
    args = ["--api-url", cloud, "--project", PROJECT, "--metrics", address, "--no-backfill", "--dir", "types"]
    recorder = world.product.start("record", *args)

    def kept():
        alive(recorder)
        text = world.told(address) if answers(address) else ""
        # A recording takes in a thousand types that no schema knows; the rest are faults.
        came = sum(value(line) for line in series(text) if "_kept_total{" in line or "_faults_total" in line)
        return text if came >= TYPES else None

    text = wait_until(f"{TYPES} types have come", kept, 40)
    check('type="other"' in text and len(series(text)) < SERIES, f"{len(series(text))} series")
    promtool("check", "metrics", text=text)
    took = [clocked(address) for _ in range(50)]
    print(f"        {len(series(text))} series, {len(text) / 1000:.0f} kB; a scrape takes {statistics.median(took):.2f} ms, at most {max(took):.2f} ms")
    check(statistics.median(took) < SCRAPE, f"a scrape takes {statistics.median(took):.1f} ms")
    # What it would roll now is another test's.
    recorder.kill()


def value(line):
    return float(line.rsplit(" ", 1)[1])


def clocked(address):
    begun = time.perf_counter()
    get(f"http://{address}/metrics")
    return 1000 * (time.perf_counter() - begun)


def scenario(product):
    return hold(
        [
            promtool_takes_the_rules_and_they_fire_when_they_should,
            promtool_has_nothing_to_say_about_names_kinds_and_help,
            a_recorder_that_runs_is_scraped_and_fires_nothing,
            a_recorder_that_is_killed_fires_and_one_that_runs_again_resolves,
            five_thousand_event_types_are_few_series_and_a_scrape_is_quick,
        ],
        World(product),
    )


if __name__ == "__main__":
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"prometheus.py: SKIPPED, since {', '.join(missing)} is missing (Debian: apt-get install prometheus prometheus-alertmanager)")
        sys.exit(0)
    script(scenario, 90)
