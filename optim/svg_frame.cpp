#include "optim/svg_frame.h"

#include "optim/svg_ink.h"

#include <fmt/format.h>

#include <string_view>

namespace strata::optim::svg {

namespace {

constexpr std::string_view light_style = R"(text{font:13px system-ui,sans-serif;fill:#1f2328}
.title{font-size:15px;font-weight:600}
.small{font-size:12px}
.paper{fill:#fff}
.band,.judged{fill:#eef1f5}
.band:nth-child(odd){fill:#fff}
.grid{stroke:#d3d9e0;stroke-width:1}
.axis{stroke:#59636e;stroke-width:1}
.mark{fill:#1f2328;stroke:#fff;stroke-width:1.5}
.raw{fill:#8c96a1}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
)";

constexpr std::string_view dark_style = R"(text{fill:#e6edf3}
.paper{fill:#0d1117}
.band,.judged{fill:#1a212b}
.band:nth-child(odd){fill:#0d1117}
.grid{stroke:#343c46}
.axis{stroke:#9198a1}
.mark{fill:#e6edf3;stroke:#0d1117}
.raw{fill:#6e7781}
)";

}  // namespace

std::string opening(double height, const std::string& title, std::size_t groups) {
    const std::string name = escaped(title);
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n"
        "<style>\n{}{}\n@media (prefers-color-scheme:dark){{\n{}{}\n}}\n</style>\n"
        "<rect class=\"paper\" width=\"{}\" height=\"{}\"/>\n<text class=\"title\" x=\"{}\" y=\"30\">{}</text>\n",
        width, height, name, light_style, group_colour_rules(groups, Paper::light, ".g", "stroke"), dark_style,
        group_colour_rules(groups, Paper::dark, ".g", "stroke"), width, height, left, name);
}

std::string across(const std::vector<Tick>& ticks) {
    std::string out;
    for (const auto& [y, text] : ticks) {
        out +=
            fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", left, right, y, y);
        out += fmt::format("<text class=\"small\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 8,
                           y + 4, escaped(text));
    }
    return out;
}

std::string foot(const std::vector<Tick>& ticks, const std::string& what) {
    std::string out;
    for (const auto& [x, text] : ticks) {
        out += fmt::format("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{}\" y2=\"{}\"/>\n", x, x, bottom,
                           bottom + 5);
        out += fmt::format("<text class=\"small\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", x,
                           bottom + 20, escaped(text));
    }
    out += fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\n", left, right, bottom, bottom);
    out += fmt::format("<text class=\"small\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (left + right) / 2,
                       bottom + 38, escaped(what));
    return out;
}

}  // namespace strata::optim::svg
