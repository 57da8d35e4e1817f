//! A scene as SVG: one element that stands for itself, in a file or inside a page.

use std::fmt::Write;

use crate::base::text::is_hidden;

use super::Chart;
use super::compose::{self, Size, common_margin};
use super::scene::{Anchor, Scene, Shape};

/// Charts above each other as one `<svg>` element. It refers to nothing outside and names nothing, so several may stand in
/// one page; text is escaped; there is no script.
pub fn svg(charts: &[&Chart], size: Size) -> String {
    let scene = compose::scene(charts, f64::from(size.width), f64::from(size.height));
    written(&scene, &charts.iter().map(|chart| chart.title.as_str()).collect::<Vec<_>>().join(", "))
}

/// Charts of one page: an `<svg>` element each, of a width and as high as it looks best, all with the same margins.
pub fn svgs(charts: &[&Chart], width: u32) -> Vec<String> {
    let margin = common_margin(charts, f64::from(width), 1.0);
    let one = |chart: &&Chart| {
        let size = Size::fitting(&[*chart], width);
        let scene = compose::behind(&[*chart], (f64::from(size.width), f64::from(size.height)), 1.0, margin);
        written(&scene, &chart.title)
    };
    charts.iter().map(one).collect()
}

fn written(scene: &Scene, title: &str) -> String {
    let mut out = String::with_capacity(16 * 1024);
    // Writing to a string cannot fail.
    write(scene, title, &mut out).unwrap_or_default();
    out
}

fn write(scene: &Scene, title: &str, out: &mut String) -> std::fmt::Result {
    let (width, height) = (Rounded(scene.width), Rounded(scene.height));
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         font-family=\"system-ui,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif\" style=\"max-width:100%;height:auto\">"
    )?;
    writeln!(out, "<title>{}</title>", Escaped(title))?;
    writeln!(out, "<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>")?;
    for shape in &scene.shapes {
        write_shape(shape, out)?;
    }
    out.push_str("</svg>\n");
    Ok(())
}

fn write_shape(shape: &Shape, out: &mut String) -> std::fmt::Result {
    match shape {
        Shape::Box { x, y, width, height, fill } => {
            let (x, y, width, height) = (Rounded(*x), Rounded(*y), Rounded(*width), Rounded(*height));
            writeln!(out, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"#{fill:06x}\"/>")
        }
        // One element: thousands of their own would be four times as long.
        Shape::Boxes { boxes, fill } => {
            write!(out, "<path d=\"")?;
            for [x, y, width, height] in boxes.iter().map(|sides| sides.map(Rounded)) {
                write!(out, "M{x} {y}h{width}v{height}h-{width}z")?;
            }
            writeln!(out, "\" fill=\"#{fill:06x}\"/>")
        }
        Shape::Path { points, colour, width, dashes } => {
            write!(out, "<path d=\"")?;
            write_points(points, out)?;
            write!(
                out,
                "\" fill=\"none\" stroke=\"#{colour:06x}\" stroke-width=\"{}\" stroke-linejoin=\"round\"",
                Rounded(*width)
            )?;
            if !dashes.is_empty() {
                let dashes: Vec<String> = dashes.iter().map(f64::to_string).collect();
                write!(out, " stroke-dasharray=\"{}\"", dashes.join(" "))?;
            }
            writeln!(out, "/>")
        }
        Shape::Area { points, fill, opacity } => {
            write!(out, "<path d=\"")?;
            write_points(points, out)?;
            writeln!(out, "Z\" fill=\"#{fill:06x}\" fill-opacity=\"{opacity}\"/>")
        }
        Shape::Dot { x, y, radius, fill } => {
            writeln!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"{radius}\" fill=\"#{fill:06x}\"/>", Rounded(*x), Rounded(*y))
        }
        Shape::Text { x, y, size, anchor, is_bold, fill, text } => {
            let anchor = match anchor {
                Anchor::Left => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::Right => " text-anchor=\"end\"",
            };
            let weight = if *is_bold { " font-weight=\"600\"" } else { "" };
            let (x, y) = (Rounded(*x), Rounded(*y));
            writeln!(
                out,
                "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"#{fill:06x}\"{anchor}{weight}>{}</text>",
                Escaped(text)
            )
        }
    }
}

fn write_points(points: &[(f64, f64)], out: &mut String) -> std::fmt::Result {
    for (index, (x, y)) in points.iter().enumerate() {
        write!(out, "{}{} {}", if index == 0 { "M" } else { "L" }, Rounded(*x), Rounded(*y))?;
    }
    Ok(())
}

/// A length to a tenth of a pixel.
struct Rounded(f64);

impl std::fmt::Display for Rounded {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tenths = (self.0 * 10.0).round();
        if tenths.is_finite() { write!(out, "{}", tenths / 10.0) } else { out.write_str("0") }
    }
}

struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '&' => out.write_str("&amp;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                // XML knows no control characters, not even escaped; nor does anybody want text to turn.
                c if is_hidden(c) => out.write_char('\u{FFFD}')?,
                c => out.write_char(c)?,
            }
        }
        Ok(())
    }
}
