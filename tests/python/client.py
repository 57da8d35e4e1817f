#!/usr/bin/env python3
"""The cloud's own Python client works against `overnight simulate`, which is how we know that the simulator speaks it.

usage: client.py BINARY
"""

import json
import threading

import disruptive as dt
import requests

from harness import EMAIL, KEY, PROJECT, SECRET, Failed, check, few, hold, script, wait_until

TYPES = 19  # event types that the client knows, every one of which the simulator sends
STREAMED = 300


def connect(base):
    dt.base_url = base + "/v2"
    dt.emulator_base_url = base + "/emulator/v2"
    dt.default_auth = account(base, SECRET)


def account(base, secret):
    auth = dt.Auth.service_account(KEY, secret, EMAIL)
    auth.token_endpoint = base + "/oauth2/token"
    return auth


def refused(error, what, call):
    try:
        call()
    except error:
        return
    raise Failed(f"{what}: no {error.__name__}")


def wrong_credentials_are_refused(base):
    auth = account(base, "wrong")
    refused(dt.errors.Unauthorized, "a wrong secret", lambda: dt.Project.list_projects(auth=auth))


def what_does_not_exist_is_not_found(_):
    refused(dt.errors.NotFound, "a project that is not there", lambda: dt.Project.get_project("nowhere"))
    refused(dt.errors.NotFound, "a device that is not there", lambda: dt.Device.get_device("nothing", PROJECT))
    stream = dt.Stream.event_stream("nowhere", request_attempts=0)
    refused(dt.errors.NotFound, "the stream of a project that is not there", lambda: next(stream))


def the_project_is_listed(_):
    projects = [project.project_id for project in dt.Project.list_projects()]
    check(projects == [PROJECT], f"projects: {projects}")
    check(dt.Project.get_project(PROJECT).sensor_count > 0, "the project has no sensors")


def every_device_is_listed_and_found_by_its_id(_):
    devices = dt.Device.list_devices(PROJECT)
    check(len(devices) == 40, f"{len(devices)} devices instead of 40")
    check(any(not device.display_name.isascii() for device in devices), "no device has a name beyond ASCII")
    for device in devices:
        same = dt.Device.get_device(device.device_id)  # without a project: the wildcard
        check(lasting(same) == lasting(device), f"{device.device_id} differs: {lasting(device)}, then {lasting(same)}")


def lasting(device):
    """What of a device nobody changes meanwhile: the simulated staff writes notes at any time, the sensors report."""
    return device.device_type, {key: value for key, value in device.labels.items() if key != "note"}


def devices_are_filtered_by_type_and_label(_):
    devices = dt.Device.list_devices(PROJECT)
    kind = devices[0].device_type
    found = {device.device_id for device in dt.Device.list_devices(PROJECT, device_types=[kind])}
    check(found == {device.device_id for device in devices if device.device_type == kind}, f"device type {kind}: {few(found)}")
    name = devices[3].display_name
    found = {device.device_id for device in dt.Device.list_devices(PROJECT, label_filters={"name": name})}
    check(found == {device.device_id for device in devices if device.display_name == name}, f"label name={name}: {few(found)}")


def history_is_newest_first_and_has_each_event_once(_):
    device = a_thermometer()
    events = dt.EventHistory.list_events(device.device_id, PROJECT)
    check(len(events) > 20, f"only {len(events)} events in two hours of history")
    times = [event.data.timestamp for event in events]
    check(times == sorted(times, reverse=True), "the history is not newest first")
    check(len({event.event_id for event in events}) == len(events), "an event comes twice in the history")


def history_is_filtered_by_event_type(_):
    events = dt.EventHistory.list_events(a_thermometer().device_id, PROJECT, event_types=["temperature"])
    check({event.event_type for event in events} == {"temperature"}, f"types: {({event.event_type for event in events})}")


def a_thermometer():
    return next(device for device in dt.Device.list_devices(PROJECT) if device.device_type == "temperature" and not device.is_emulated)


def events_are_streamed_in_many_types_and_each_once(_):
    kinds, ids = set(), []
    for event in dt.Stream.event_stream(PROJECT):
        check(event.data is not None, f"the client does not know {event.event_type}")
        kinds.add(event.event_type)
        ids.append(event.event_id)
        if len(ids) == STREAMED:
            break
    check(len(set(ids)) == STREAMED, f"{len(set(ids))} ids in {STREAMED} events")
    check(len(kinds) > 4, f"only these types came: {sorted(kinds)}")


def a_stream_is_filtered_by_event_type(_):
    stream = dt.Stream.event_stream(PROJECT, event_types=["humidity", "co2"])
    kinds = {next(stream).event_type for _ in range(30)}
    check(kinds <= {"humidity", "co2"}, f"types: {kinds}")


def the_client_understands_every_type_of_event(base):
    def look():
        lines = requests.get(base + "/simulator/truth", timeout=10).content.split(b"\n")
        events = [json.loads(line) for line in lines if line]
        return events if len({event["eventType"] for event in events}) >= TYPES else None

    events = wait_until(f"{TYPES} event types", look)
    for event in map(dt.events.Event, events):
        check(event.data is not None, f"the client does not know {event.event_type}")
    kinds = {event["eventType"] for event in events}
    check(len(kinds) == TYPES, f"{len(kinds)} types instead of {TYPES}: {sorted(kinds)}")


def what_an_emulated_device_publishes_comes_by_stream_history_and_reported(base):
    device = dt.Emulator.create_device(PROJECT, "temperature", display_name="Prüfling", labels={"a": "b"})
    check(device.is_emulated and device.labels["name"] == "Prüfling", f"odd device: {device}")
    came, streams = [], lambda: requests.get(base + "/simulator/stats", timeout=10).json()["streams"]
    wait_until("the streams of other rules are closed", lambda: streams() == 0)

    def listen():
        came.append(next(dt.Stream.event_stream(PROJECT, device_ids=[device.device_id], event_types=["temperature"])))

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    wait_until("the stream is open", lambda: streams() == 1)
    dt.Emulator.publish_event(device.device_id, PROJECT, dt.events.Temperature(21.5))
    listener.join(10)
    check(came and came[0].data.celsius == 21.5, f"the published event did not come: {came}")
    check(came[0].data.samples[0].celsius == 21.5, "the published event has no sample")
    # The history shows it after its indexing delay.
    history = wait_until("the event in history", lambda: dt.EventHistory.list_events(device.device_id, PROJECT))
    check([event.event_id for event in history] == [came[0].event_id], f"the history differs: {history}")
    check(dt.Device.get_device(device.device_id).reported.temperature.celsius == 21.5, "nothing is reported")


def an_emulated_device_publishes_only_what_its_type_can(_):
    device = dt.Emulator.create_device(PROJECT, "temperature", display_name="Prüfling")
    publish = lambda: dt.Emulator.publish_event(device.device_id, PROJECT, dt.events.Co2(500))
    refused(dt.errors.BadRequest, "a thermometer that publishes co2", publish)


def labels_are_set(_):
    device = a_thermometer()
    errors = dt.Device.set_label(device.device_id, PROJECT, "checked", "done")
    check(not errors, f"errors: {errors}")
    labels = dt.Device.get_device(device.device_id).labels
    check(labels.get("checked") == "done", f"labels: {labels}")


def a_deleted_device_is_gone(_):
    device = dt.Emulator.create_device(PROJECT, "touch", display_name="Prüfling")
    dt.Emulator.delete_device(device.device_id, PROJECT)
    refused(dt.errors.NotFound, "a deleted device", lambda: dt.Device.get_device(device.device_id, PROJECT))


RULES = [
    wrong_credentials_are_refused,
    what_does_not_exist_is_not_found,
    the_project_is_listed,
    every_device_is_listed_and_found_by_its_id,
    devices_are_filtered_by_type_and_label,
    history_is_newest_first_and_has_each_event_once,
    history_is_filtered_by_event_type,
    events_are_streamed_in_many_types_and_each_once,
    a_stream_is_filtered_by_event_type,
    the_client_understands_every_type_of_event,
    what_an_emulated_device_publishes_comes_by_stream_history_and_reported,
    an_emulated_device_publishes_only_what_its_type_can,
    labels_are_set,
    a_deleted_device_is_gone,
]


def scenario(product):
    base = product.simulate("--rate", 500, "--history", "2h")
    connect(base)
    return hold(RULES, base)


if __name__ == "__main__":
    script(scenario, seconds=50)
