//! Where decimals come behind a comma: by language and country, as CLDR has it.

use crate::base::text;

/// How a decimal is written in each locale; its head says where it is from.
const TABLE: &str = include_str!("locales.txt");

/// All locales, such as `de`, `de-CH` and `zh-Hans-CN`, each with its decimal sign.
fn all() -> impl Iterator<Item = (String, u8)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).flat_map(|line| {
        let mut words = line.split(' ');
        let language = words.next().unwrap_or_default();
        let (mut sign, mut is_bare) = (b'.', true);
        words.filter_map(move |word| match word {
            "." | "," => {
                sign = word.as_bytes()[0];
                std::mem::take(&mut is_bare).then(|| (language.to_owned(), sign))
            }
            rest => Some((format!("{language}-{rest}"), sign)),
        })
    })
}

/// What stands between cells and before decimals in `de`, `de-DE`, `zh-Hans-CN` or `nb_NO.UTF-8`.
///
/// # Errors
/// When the locale is not known, with those that are nearest.
pub(super) fn separators(locale: &str) -> Result<(u8, u8), String> {
    let plain = locale.split(['.', '@']).next().unwrap_or_default().replace('_', "-");
    if plain == "C" || plain == "POSIX" {
        return Ok((b',', b'.'));
    }
    let Some((name, decimal)) = all().find(|(name, _)| name.eq_ignore_ascii_case(&plain)) else {
        return Err(format!(
            "{locale:?} is no locale that this program knows; {}, or say --delimiter and --decimal instead",
            near(&plain)
        ));
    };
    // In Switzerland and Liechtenstein lists are separated by semicolons, whatever decimals look like.
    let semicolon = decimal == b',' || ["CH", "LI"].iter().any(|country| name.ends_with(&format!("-{country}")));
    Ok((if semicolon { b';' } else { b',' }, decimal))
}

/// The locales of the same country and the same language; where there are none, one that is spelled alike.
fn near(wanted: &str) -> String {
    const MOST: usize = 8;
    let (language, country) = (wanted.split('-').next().unwrap_or_default(), wanted.rsplit_once('-').map(|(_, country)| country));
    // The code of the United Kingdom is another one, which many do not know.
    let country = country.map(|country| if country.eq_ignore_ascii_case("UK") { "GB" } else { country });
    let names: Vec<String> = all().map(|(name, _)| name).collect();
    let is_language = |name: &&String| name.eq_ignore_ascii_case(language);
    let is_there =
        |name: &&String| name.rsplit_once('-').is_some_and(|(_, of)| country.is_some_and(|to| of.eq_ignore_ascii_case(to)));
    let of_language = |name: &&String| name.split('-').next().is_some_and(|of| of.eq_ignore_ascii_case(language));
    let mut near: Vec<&str> = Vec::new();
    let ranked = names.iter().filter(is_language).chain(names.iter().filter(is_there)).chain(names.iter().filter(of_language));
    for name in ranked {
        if near.len() < MOST && !near.contains(&name.as_str()) {
            near.push(name);
        }
    }
    match (near.is_empty(), text::nearest(wanted, &names)) {
        (false, _) => format!("the nearest are {}", near.join(", ")),
        (true, Some(name)) => format!("did you mean {name:?}?"),
        (true, None) => "write a language and a country, such as de-DE or en-US".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use icu_decimal::DecimalFormatter;
    use icu_decimal::input::Decimal;
    use icu_locale_core::Locale;

    use super::*;

    #[test]
    fn every_locale_that_is_taken_has_the_decimal_sign_of_cldr() {
        let number: Decimal = "1.5".parse().unwrap();
        let mut count = 0;
        for (name, sign) in all() {
            let locale: Locale = format!("{name}-u-nu-latn").parse().unwrap();
            let written = DecimalFormatter::try_new(locale.into(), icu_decimal::options::DecimalFormatterOptions::default());
            assert_eq!(written.unwrap().format(&number).to_string(), format!("1{}5", char::from(sign)), "{name}");
            assert_eq!(separators(&name).unwrap().1, sign, "{name}");
            count += 1;
        }
        assert!(count > 700, "{count}");
    }

    #[test]
    fn a_locale_that_nobody_knows_is_refused_with_the_nearest() {
        let near = [
            ("en-BR", "pt-BR"),
            ("en-BR", "en,"),
            ("xx-DE", "de-DE"),
            ("en-UK", "en-GB"),
            ("zzzz", "such as de-DE"),
            ("de-XX", "de,"),
            ("", "de-DE"),
        ];
        for (wanted, near) in near {
            let said = separators(wanted).unwrap_err();
            assert!(said.contains(near) && said.contains("--delimiter"), "{wanted}: {said}");
        }
    }
}
