// The whole page as text; report_browser_test.cpp looks at it in a browser.
#include "apps/strata/report/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "run_folder.h"
#include "tests/support/scratch_folder.h"

namespace strata::app::report {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing_support::MadeUpRun;
using testing_support::make_run;
using testing_support::ScratchFolder;

std::size_t count_of(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
    return count;
}

TEST(ReportPage, HasAChartForEverythingThatIsLogged) {
    const ScratchFolder scratch;
    const std::string page = report_page({make_run(scratch.path(), {.stages = true, .skipped = 7})});
    for (const char* id :
         {"loss", "metrics", "grad-norm", "rates", "grad-norms", "weight-norms", "update-ratios", "phases", "speed"}) {
        EXPECT_THAT(page, HasSubstr("<figure class=\"chart\" id=\"" + std::string(id) + "\">"));
    }
    EXPECT_THAT(page,
                AllOf(HasSubstr("class=\"skipped\""), HasSubstr("Updates skipped"), HasSubstr("class=\"band odd\""),
                      HasSubstr("<dd>0.9</dd>"), HasSubstr("<dd>01:01</dd>"), HasSubstr("from 21"),
                      HasSubstr("<b>small</b>"), HasSubstr("2 ranks"), HasSubstr("strata 0.1.0")));
}

TEST(ReportPage, LeavesOutWhatIsNotLogged) {
    const ScratchFolder scratch;
    const std::string page = report_page({make_run(scratch.path(), {.weights = false})});
    EXPECT_THAT(page, AllOf(HasSubstr("id=\"grad-norms\""), Not(HasSubstr("id=\"weight-norms\"")),
                            Not(HasSubstr("id=\"update-ratios\"")), Not(HasSubstr("class=\"skipped\""))));
}

TEST(ReportPage, NeedsNothingFromOutside) {
    const ScratchFolder scratch;
    const std::string page = report_page({make_run(scratch.path(), {})});
    EXPECT_THAT(page, AllOf(Not(HasSubstr("http:")), Not(HasSubstr("https:")), Not(HasSubstr(" src=")),
                            Not(HasSubstr("@import")), Not(HasSubstr("url("))));
}

TEST(ReportPage, NamesAreTextWhateverTheyHold) {
    const ScratchFolder scratch;
    const auto folder = make_run(scratch.path(), {.name = "<script>alert('run')&\""});
    // No plan has a group of such a name, but a file may.
    for (const char* name : {"plan.json", "metrics.jsonl"}) {
        std::string text = read_file(folder / name);
        for (auto at = text.find("group_0"); at != std::string::npos; at = text.find("group_0"))
            text.replace(at, 7, "<script>\\\"&'0");
        write_file_atomically(folder / name, text);
    }
    append_to_file(folder / "config.toml", "task_name = \"<script>\"\n");
    for (const std::string& page :
         {report_page({folder}), report_page({folder, make_run(scratch.path(), {.name = "other"})})}) {
        EXPECT_EQ(count_of(page, "<script"), 1U) << "the page's own";
        EXPECT_THAT(page, AllOf(HasSubstr("&lt;script&gt;alert('run')&amp;&quot;"),
                                HasSubstr("&lt;script&gt;&quot;&amp;'0"), HasSubstr("<b>&lt;script&gt;</b>")));
    }
}

TEST(ReportPage, SeveralRunsLieOverOneAnotherAndGroupsSideBySide) {
    const ScratchFolder scratch;
    const std::string page = report_page({make_run(scratch.path(), {.name = "a", .stages = true}),
                                          make_run(scratch.path(), {.name = "b", .groups = 5, .shift = 0.1})});
    EXPECT_EQ(count_of(page, "id=\"loss\""), 1U);
    EXPECT_THAT(page, AllOf(HasSubstr("id=\"rates-0\""), HasSubstr("id=\"rates-1\""), HasSubstr("<h1>2 runs</h1>"),
                            HasSubstr("n3g0"), HasSubstr("n5g4")));
    EXPECT_THAT(page, HasSubstr("<b class=\"best\">0.9<span class=\"unseen\"> (best)</span></b>"));
    EXPECT_THAT(page, HasSubstr("<p>No key differs.</p>")) << "where they lie is no difference";
}

TEST(ReportPage, RunsOfOneNameAreToldApartByTheirPaths) {
    const ScratchFolder scratch;
    const std::string page = report_page({make_run(scratch.path() / "x", {}), make_run(scratch.path() / "y", {})});
    EXPECT_THAT(page, AllOf(HasSubstr("/x/run</span>"), HasSubstr("/y/run</span>")));
}

TEST(ReportPage, StaysSmallHoweverLongTheRun) {
    const ScratchFolder scratch;
    const std::string page = report_page({make_run(scratch.path(), {.groups = 62, .updates = 5000})});
    EXPECT_LT(page.size(), 1'500'000U);
    EXPECT_THAT(page, HasSubstr("the lowest and the highest of each"));
}

TEST(ReportPage, TellsOfARunThatHasNotEnded) {
    const ScratchFolder scratch;
    EXPECT_THAT(report_page({make_run(scratch.path(), {.updates = 8, .finished = false})}),
                HasSubstr("Not finished: 8 of 8 updates so far, as logged."));
}

TEST(ReportPage, AnEmptyRunIsAPageToo) {
    const ScratchFolder scratch;
    write_file_atomically(scratch.path() / "config.toml", "seed = 1\n");
    EXPECT_THAT(report_page({scratch.path()}), AllOf(HasSubstr("Nothing is logged yet."), Not(HasSubstr("<figure"))));
}

}  // namespace
}  // namespace strata::app::report
