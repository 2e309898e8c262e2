// The page in a real browser: headless Chromium, light and dark, narrow and wide. Skips by name where there is none.
//
// The test's copy of a page has a script more, which measures the page once it is laid out and leaves what it found as
// JSON in the document, which Chromium then prints (--dump-dom).
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <ostream>

#include "apps/strata/report/page.h"
#include "run_folder.h"
#include "tests/support/scratch_folder.h"

namespace strata::app::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing_support::make_run;
using testing_support::ScratchFolder;

struct View {
    const char* name;
    int width;
    bool dark;
};

/// What a test is called by.
void PrintTo(const View& view, std::ostream* out) {
    *out << view.name;
}

std::string chromium() {
    for (const char* name : {"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}) {
        const std::string command = std::string("command -v ") + name + " >/dev/null 2>&1";
        if (std::system(command.c_str()) == 0) return name;
    }
    return {};
}

std::string output_of(const std::string& command) {
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
    std::string text;
    std::array<char, 65536> part{};
    while (const std::size_t count = std::fread(part.data(), 1, part.size(), pipe.get()))
        text.append(part.data(), count);
    return text;
}

// Catches what goes wrong before and while the page's own script runs.
constexpr const char* watch = R"html(<script>
window.problems = [];
addEventListener("error", event => problems.push(String(event.message || event.target.outerHTML)), true);
console.error = (...words) => problems.push(words.join(" "));
</script>)html";

// A frame of the wanted width is the page's own window, whatever the least width that the browser's has.
constexpr const char* frame_page = R"html(<!doctype html><meta name="color-scheme" content="light dark"><body><script>
addEventListener("message", event => {
  const found = document.createElement("script");
  found.type = "application/json";
  found.id = "found";
  found.textContent = event.data;
  document.body.append(found);
});
</script><iframe src="page.html" width="WIDTH" height="900" style="border:0"></iframe></body>)html";

// Contrast as WCAG 2.2 has it; a canvas turns any colour that CSS can say into numbers.
constexpr const char* measure = R"html(<script>
addEventListener("load", () => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const numbers = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = rgb => rgb.slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const groundOf = node => {
    for (; node; node = node.parentElement) {
      const rgba = numbers(getComputedStyle(node).backgroundColor);
      if (rgba[3] > 180) return rgba;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walker.nextNode());) {
    const element = text.parentElement;
    if (!text.data.trim() || !element.checkVisibility() || element.closest("script, svg, .unseen")) continue;
    const a = luminance(numbers(getComputedStyle(element).color)), b = luminance(groundOf(element));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${text.data.trim()}: ${contrast.toFixed(2)}`);
  }
  const frame = document.querySelector(".frame");
  if (frame) {
    const box = frame.getBoundingClientRect();
    frame.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width / 2, clientY: box.top + 20}));
  }
  const tip = document.querySelector(".tip");
  parent.postMessage(JSON.stringify({
    width: innerWidth,
    wide: document.documentElement.scrollWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    background: getComputedStyle(document.body).backgroundColor,
    charts: [...document.querySelectorAll("figure.chart")].map(figure => {
      const {width, height} = figure.querySelector("svg").getBoundingClientRect();
      return {id: figure.id, width, height};
    }),
    tip: tip ? tip.textContent : "",
    faint, problems,
  }), "*");
});
</script>)html";

class ReportInBrowser : public testing::TestWithParam<View> {
  protected:
    void SetUp() override {
        if (chromium().empty()) GTEST_SKIP() << "no chromium here";
    }

    json look_at(const std::vector<fs::path>& runs) {
        std::string page = report_page(runs);
        page.insert(page.find("<style>"), watch);
        page.insert(page.rfind("</body>"), measure);
        write_file_atomically(scratch_.path() / "page.html", page);
        std::string around = frame_page;
        around.replace(around.find("WIDTH"), 5, std::to_string(GetParam().width));
        write_file_atomically(scratch_.path() / "around.html", around);
        const std::string dom = output_of(fmt::format(
            "timeout 120 {} --headless --no-sandbox --disable-gpu --allow-file-access-from-files "
            "--window-size=1500,1000 "
            "--user-data-dir='{}' --blink-settings=preferredColorScheme={} --virtual-time-budget=20000 --dump-dom "
            "'file://{}' 2>/dev/null",
            chromium(), (scratch_.path() / "profile").string(), GetParam().dark ? 0 : 1,
            (scratch_.path() / "around.html").string()));
        const std::string mark = "id=\"found\">";
        const auto begin = dom.find(mark);
        if (begin == std::string::npos) {
            ADD_FAILURE() << "the page said nothing: " << dom;
            return {};
        }
        const auto from = begin + mark.size();
        return json::parse(dom.substr(from, dom.find("</script>", from) - from));
    }

    void expect_sound(const json& found, std::size_t charts) {
        ASSERT_TRUE(found.is_object());
        EXPECT_EQ(found["problems"], json::array());
        EXPECT_EQ(found["faint"], json::array());
        EXPECT_EQ(found["width"], GetParam().width);
        EXPECT_LE(found["wide"].get<int>(), GetParam().width);
        EXPECT_EQ(found["dark"], GetParam().dark);
        EXPECT_EQ(found["background"], GetParam().dark ? "rgb(13, 17, 23)" : "rgb(255, 255, 255)");
        ASSERT_EQ(found["charts"].size(), charts);
        for (const json& chart : found["charts"]) {
            EXPECT_GT(chart["width"].get<double>(), 150) << chart;
            EXPECT_GT(chart["height"].get<double>(), 100) << chart;
        }
    }

    ScratchFolder scratch_;
};

TEST_P(ReportInBrowser, OneRunWithStages) {
    const json found =
        look_at({make_run(scratch_.path(), {.name = "<script>alert(1)", .groups = 8, .stages = true, .skipped = 7})});
    expect_sound(found, 9);
    EXPECT_THAT(found["tip"].get<std::string>(), testing::StartsWith("update 20"));
}

TEST_P(ReportInBrowser, ManyGroupsAndUpdates) {
    expect_sound(look_at({make_run(scratch_.path(),
                                   {.groups = 62, .group_prefix = "a.long.name.of.a.parameter.", .updates = 2000})}),
                 9);
}

TEST_P(ReportInBrowser, SeveralRuns) {
    std::vector<fs::path> runs;
    for (const char* name : {"first", "second", "a_rather_long_name_of_a_run_without_any_space_in_it"})
        runs.push_back(
            make_run(scratch_.path(), {.name = name, .groups = 2 + runs.size(), .stages = runs.size() == 1}));
    expect_sound(look_at(runs), 19);
}

TEST_P(ReportInBrowser, ARunWithNothingYet) {
    write_file_atomically(scratch_.path() / "config.toml", "seed = 1\n");
    expect_sound(look_at({scratch_.path()}), 0);
}

INSTANTIATE_TEST_SUITE_P(Views, ReportInBrowser,
                         testing::Values(View{"narrow_light", 400, false}, View{"narrow_dark", 400, true},
                                         View{"wide_light", 1400, false}, View{"wide_dark", 1400, true}),
                         [](const auto& view) { return std::string(view.param.name); });

}  // namespace
}  // namespace strata::app::report
