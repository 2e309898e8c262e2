#include "data/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/temporary_file.h"

namespace strata::data {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(const Table& table) {
    Rows rows;
    for (std::size_t row = 0; row < table.rows(); ++row)
        rows.emplace_back(table.row(row).begin(), table.row(row).end());
    return rows;
}

std::vector<std::size_t> lines_of(const Table& table) {
    std::vector<std::size_t> lines;
    for (std::size_t row = 0; row < table.rows(); ++row) lines.push_back(table.line(row));
    return lines;
}

using Lines = std::vector<std::size_t>;

Rows read_rows(const std::string& name, std::string_view content) {
    const TemporaryFile file(name, content);
    return rows_of(Table::read(file.path()));
}

std::string error_of(const std::string& name, std::string_view content) {
    const TemporaryFile file(name, content);
    return user_error_of([&] { Table::read(file.path()); });
}

TEST(TableTsv, SplitsOnRawTabsAndKeepsQuotes) {
    EXPECT_EQ(read_rows("a.tsv", "\"one\ttwo\"\"\n ' x\t\ty \n"), (Rows{{"\"one", "two\"\""}, {" ' x", "", "y "}}));
}

TEST(TableTsv, TakesCrLfByteOrderMarkBlankLinesAndNoLastLineEnd) {
    const TemporaryFile file("a.TXT",
                             "\xef\xbb\xbf"
                             "a\t1\r\n\r\n \t \nb\rc\t0");
    const Table table = Table::read(file.path());
    EXPECT_EQ(rows_of(table), (Rows{{"a", "1"}, {"b\rc", "0"}}));
    EXPECT_EQ(lines_of(table), (Lines{1, 4}));
    EXPECT_THAT(table.place(1), EndsWith("a.TXT:4"));
}

TEST(TableCsv, FollowsRfc4180) {
    const TemporaryFile file(
        "a.csv", "text,label\r\n\"a, \"\"b\"\"\nc\",1\r\n\r\n\"\",\"x\"\r\nplain \"quote\" here,\n,,\n\"last\"");
    const Table table = Table::read(file.path());
    EXPECT_EQ(
        rows_of(table),
        (Rows{
            {"text", "label"}, {"a, \"b\"\nc", "1"}, {"", "x"}, {"plain \"quote\" here", ""}, {"", "", ""}, {"last"}}));
    EXPECT_EQ(lines_of(table), (Lines{1, 2, 5, 6, 7, 8}));
}

TEST(TableCsv, KeepsAMovedTablesCells) {
    const TemporaryFile file("a.csv", "\"a\"\"\",b\n");
    Table table = Table::read(file.path());
    const Table moved = std::move(table);
    EXPECT_EQ(rows_of(moved), (Rows{{"a\"", "b"}}));
}

TEST(TableCsv, NamesTheLineWhereAQuoteOpened) {
    const auto message = error_of("a.csv", "a,b\nc,\"d\n\ne,f\n");
    EXPECT_THAT(message, HasSubstr("a.csv:2: the quote that opens here is never closed"));
    EXPECT_THAT(error_of("a.csv", "a,b\n\"x\ny\"z,1\n"),
                HasSubstr("a.csv:3: text after a closing quote (it opened on line 2)"));
    EXPECT_THAT(error_of("a.csv", "\"x\" ,1\n"), HasSubstr("a.csv:1: text after a closing quote;"));
    EXPECT_THAT(error_of("a.csv", "\""), HasSubstr("a.csv:1: the quote that opens here is never closed"));
    EXPECT_THAT(error_of("a.csv", "\"\"\""), HasSubstr("a.csv:1: the quote that opens here is never closed"));
}

TEST(TableJsonl, TakesTheFirstObjectsKeysAsColumns) {
    const TemporaryFile file("a.jsonl",
                             "{\"text\": \"a\\tb\\u00e9\\n\", \"label\": 1, \"more\": [1, 2]}\n\n"
                             "{\"label\": 1.0, \"other\": 3, \"text\": \"\"}\r\n{\"text\": null, \"label\": true}\n");
    const Table table = Table::read(file.path());
    ASSERT_EQ(table.keys().size(), 3u);
    EXPECT_EQ(table.keys()[1], "label");
    EXPECT_EQ(rows_of(table), (Rows{{"a\tb\xc3\xa9\n", "1", ""}, {"", "1.0", ""}, {"", "true", ""}}));
    EXPECT_EQ(lines_of(table), (Lines{1, 3, 4}));
    EXPECT_TRUE(Table::is_missing(table.row(0)[2]));
    EXPECT_FALSE(Table::is_missing(table.row(1)[0])) << "an empty text is a text";
    EXPECT_TRUE(Table::is_missing(table.row(2)[0]));
}

TEST(TableJsonl, SaysWhatIsWrongAndWhere) {
    const auto broken = error_of("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"\n");
    EXPECT_THAT(broken, HasSubstr("a.jsonl:2: not JSON: column 13"));
    EXPECT_THAT(broken, Not(HasSubstr("line 1"))) << "the parser's own line number misleads";
    EXPECT_THAT(error_of("a.json", "[{\"text\": \"a\"}]\n"), HasSubstr("a.json:1: a list, expected one object a line"));
    EXPECT_THAT(error_of("a.json", "{\n \"text\": \"a\"\n}\n"), HasSubstr("a.json:1: a JSON value over several lines"));
    EXPECT_THAT(error_of("a.jsonl", "17\n"), HasSubstr("a.jsonl:1: expected an object"));
    EXPECT_THAT(error_of("a.jsonl", "{}\n"), HasSubstr("a.jsonl:1: an empty object"));
    EXPECT_THAT(error_of("a.jsonl", "{\"text\": \"\\ud800\"}\n"), HasSubstr("a.jsonl:1: not JSON"));
}

TEST(Table, RefusesFilesThatHoldNothing) {
    EXPECT_THAT(user_error_of([] { Table::read("/nowhere/train.tsv"); }), HasSubstr("/nowhere/train.tsv"));
    EXPECT_THAT(user_error_of([] { Table::read(std::filesystem::temp_directory_path()); }), HasSubstr("folder"));
    EXPECT_THAT(error_of("a.tsv", ""), HasSubstr("a.tsv: the file is empty"));
    EXPECT_THAT(error_of("a.csv", "\n  \r\n\n"), HasSubstr("only blank lines"));
    EXPECT_THAT(error_of("a.tsv", "\xef\xbb\xbf"), HasSubstr("only blank lines"));
}

TEST(Table, RefusesOtherEndings) {
    EXPECT_THAT(error_of("a.xlsx", "a"), HasSubstr("'.xlsx' is none of .tsv, .txt"));
    EXPECT_THAT(error_of("noending", "a"), HasSubstr(".jsonl"));
}

TEST(Table, NamesLineAndByteOfInvalidUtf8) {
    const auto message = error_of("a.tsv", "good\t1\ncaf\xe9 noir\t0\n");
    EXPECT_THAT(message, HasSubstr("a.tsv:2: byte 4 of the line is not valid UTF-8 (0xe9)"));
    EXPECT_THAT(message, HasSubstr("--encoding latin1"));
    EXPECT_THAT(error_of("a.tsv", "\xe9"), HasSubstr("a.tsv:1: byte 1 of the line"));
    EXPECT_THAT(error_of("a.tsv",
                         "\xff\xfe"
                         "a"),
                HasSubstr("UTF-16"));
}

TEST(Table, RefusesZeroBytes) {
    EXPECT_THAT(error_of("a.tsv", std::string_view("a\nb\0c\n", 6)),
                HasSubstr("a.tsv:2: byte 2 of the line is a zero byte"));
}

TEST(Table, ReadsLatin1) {
    const TemporaryFile file("a.tsv", "caf\xe9\t1\n");
    EXPECT_EQ(rows_of(Table::read(file.path(), TextEncoding::latin1)), (Rows{{"caf\xc3\xa9", "1"}}));
    EXPECT_EQ(parse_encoding("Latin-1"), TextEncoding::latin1);
    EXPECT_EQ(parse_encoding("UTF-8"), TextEncoding::utf8);
    EXPECT_THAT(user_error_of([] { parse_encoding("koi8-r"); }), HasSubstr("utf-8 and latin1"));
}

}  // namespace
}  // namespace strata::data
