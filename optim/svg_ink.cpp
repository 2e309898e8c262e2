#include "optim/svg_ink.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace strata::optim::svg {

namespace {

using Colour = std::array<double, 3>;  // linear sRGB

/// Ottosson's Oklab, https://bottosson.github.io/posts/oklab/.
Colour from_oklab(double lightness, double chroma, double hue) {
    const double a = chroma * std::cos(hue * std::numbers::pi / 180.0);
    const double b = chroma * std::sin(hue * std::numbers::pi / 180.0);
    const double l = std::pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
    const double m = std::pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
    const double s = std::pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
    return {4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
            -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
            -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
}

bool can_be_shown(const Colour& colour) {
    return std::all_of(colour.begin(), colour.end(), [](double c) { return c >= 0.0 && c <= 1.0; });
}

/// Colours that screens lack give up chroma, never lightness.
Colour shown(double lightness, double chroma, double hue) {
    while (chroma > 0.0 && !can_be_shown(from_oklab(lightness, chroma, hue))) chroma -= 0.005;
    return from_oklab(lightness, std::max(chroma, 0.0), hue);
}

/// WCAG 2.2's relative luminance.
double luminance(const Colour& colour) {
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2];
}

/// The colour of a hue and a luminance, which rises with lightness.
Colour with_luminance(double wanted, double chroma, double hue) {
    double low = 0.0;
    double high = 1.0;
    for (int i = 0; i < 30; ++i) {
        const double middle = (low + high) / 2;
        (luminance(shown(middle, chroma, hue)) < wanted ? low : high) = middle;
    }
    return shown(low, chroma, hue);
}

int channel(double linear) {
    const double value = std::clamp(linear, 0.0, 1.0);
    const double encoded = value <= 0.0031308 ? 12.92 * value : 1.055 * std::pow(value, 1 / 2.4) - 0.055;
    return static_cast<int>(std::lround(255.0 * encoded));
}

}  // namespace

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            default:
                out += c;
        }
    }
    return out;
}

std::string group_colour(std::size_t group, std::size_t groups, Paper paper) {
    const double position = groups < 2 ? 1.0 : static_cast<double>(group) / static_cast<double>(groups - 1);
    const double hue = 262.0 + 158.0 * position;  // blue, violet, magenta, red, orange
    // Cube roots of luminance, in which equal steps look about equal.
    const double input = paper == Paper::light ? 0.32 : 0.53;
    const double head = paper == Paper::light ? 0.65 : 0.86;
    const Colour colour = with_luminance(std::pow(input + (head - input) * position, 3), 0.19, hue);
    return fmt::format("#{:02x}{:02x}{:02x}", channel(colour[0]), channel(colour[1]), channel(colour[2]));
}

std::string group_colour_rules(std::size_t groups, Paper paper, std::string_view selector, std::string_view property) {
    std::string out;
    for (std::size_t g = 0; g < groups; ++g) {
        out += fmt::format("{}{}{{{}:{}}}", selector, g, property, group_colour(g, groups, paper));
    }
    return out;
}

Points thinned(const Points& points) {
    if (points.size() < 3) return points;
    Points out{points.front()};
    std::size_t kept = 0;
    for (std::size_t i = 1; i + 1 < points.size(); ++i) {
        const auto& [x0, y0] = points[kept];
        const auto& [x1, y1] = points[i + 1];
        const double slope = (y1 - y0) / (x1 - x0);
        for (std::size_t between = kept + 1; between <= i; ++between) {
            if (std::abs(y0 + slope * (points[between][0] - x0) - points[between][1]) < 0.1) continue;
            out.push_back(points[i]);
            kept = i;
            break;
        }
    }
    out.push_back(points.back());
    return out;
}

}  // namespace strata::optim::svg
