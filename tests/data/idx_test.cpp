#include "data/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "data/images.h"
#include "tests/data/temporary_file.h"

namespace strata::data {
namespace {

using namespace std::string_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// Two images of 2 x 3 bytes, 0 to 11.
std::string two_images() {
    return "\0\0\x08\x03\0\0\0\x02\0\0\0\x02\0\0\0\x03\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b"s;
}

std::string labels(const std::string& values) {
    return "\0\0\x08\x01\0\0\0"s + static_cast<char>(values.size()) + values;
}

std::string refusal(const std::string& content) {
    const TemporaryFile file("x.idx", content);
    const std::string message = user_error_of([&] { read_idx(file.path()); });
    EXPECT_THAT(message, HasSubstr(file.path().string()));
    return message;
}

TEST(Idx, reads_bytes_and_floats) {
    const TemporaryFile bytes("a.idx", two_images());
    const IdxArray images = read_idx(bytes.path());
    EXPECT_THAT(images.shape, ElementsAre(2, 2, 3));
    EXPECT_THAT(images.bytes, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    const TemporaryFile floats("b.idx", "\0\0\x0d\x01\0\0\0\x02\x3f\x80\0\0\xc0\x20\0\0"s);
    EXPECT_THAT(read_idx(floats.path()).floats, ElementsAre(1.0f, -2.5f));
}

TEST(Idx, reads_gzip) {
    const IdxArray images = read_idx(STRATA_FIXTURES "/torchscript/train-images-idx3-ubyte.gz");
    EXPECT_THAT(images.shape, ElementsAre(96, 8, 8));
    EXPECT_EQ(images.bytes.size(), 96u * 64u);
}

TEST(Idx, refuses_what_is_not_idx) {
    EXPECT_THAT(refusal(""), HasSubstr("too short"));
    EXPECT_THAT(refusal("\x89PNG\r\n\x1a\n"), AllOf(HasSubstr("not an IDX file"), HasSubstr("89 50 4e 47")));
    EXPECT_THAT(refusal("\0\0\x08\0"s), HasSubstr("not an IDX file"));
    EXPECT_THAT(refusal("\0\0\x0c\x01\0\0\0\x01\0\0\0\x01"s), AllOf(HasSubstr("32-bit integers"), HasSubstr("0x08")));
    EXPECT_THAT(refusal("\0\0\x08\x03\0\0\0\x02\0\0"s), HasSubstr("inside its header"));
    EXPECT_THAT(refusal("\0\0\x08\x02\0\0\0\x02\0\0\0\0"s), AllOf(HasSubstr("dimension 2"), HasSubstr("extent 0")));
    EXPECT_THAT(user_error_of([] { read_idx("/no/such.idx"); }), HasSubstr("/no/such.idx"));
    EXPECT_THAT(user_error_of([] { read_idx("/tmp"); }), HasSubstr("folder"));
}

TEST(Idx, refuses_sizes_that_do_not_agree) {
    const std::string whole = two_images();
    EXPECT_THAT(refusal(whole.substr(0, whole.size() - 1)), AllOf(HasSubstr("11 bytes"), HasSubstr("says 12")));
    EXPECT_THAT(refusal(whole + "x"), HasSubstr("goes on after the 12 bytes"));
    // Extents of 4 thousand million each: no memory is taken for what is not there.
    EXPECT_THAT(refusal("\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x03"s), HasSubstr("cannot be"));
    EXPECT_THAT(refusal("\0\0\x08\x01\x7f\xff\xff\xff\x01"s), HasSubstr("1 bytes"));
}

TEST(Idx, refuses_damaged_gzip) {
    std::ifstream file(STRATA_FIXTURES "/torchscript/train-images-idx3-ubyte.gz", std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(file), {}};
    EXPECT_THAT(refusal(whole.substr(0, whole.size() / 2)), HasSubstr("cut short"));
    std::string flipped = whole;
    flipped[whole.size() - 6] = static_cast<char>(flipped[whole.size() - 6] ^ 1);  // in the checksum
    EXPECT_THAT(refusal(flipped), HasSubstr("damaged"));
}

TEST(Images, labels_lie_beside) {
    const TemporaryFile images("a-images-idx3-ubyte", two_images());
    const TemporaryFile own("a-labels-idx1-ubyte", labels("\x03\x01"));
    const ImageSet set = read_images(images.path(), Split::train);
    EXPECT_THAT(set.pixels.shape, ElementsAre(2, 1, 2, 3)) << "one channel";
    EXPECT_THAT(set.labels, ElementsAre(3, 1));
    EXPECT_TRUE(set.has_labels);
    EXPECT_EQ(set.labels_path, own.path());
    check_labels(set, 4);
    EXPECT_THAT(user_error_of([&] { check_labels(set, 3); }),
                AllOf(HasSubstr(own.path().string()), HasSubstr("image 0"), HasSubstr("label 3"), HasSubstr("0 to 2")));
}

TEST(Images, dots_and_features_are_names_too) {
    const TemporaryFile images("b-images.idx3-ubyte", two_images());
    const TemporaryFile own("b-labels.idx1-ubyte", labels("\x01\x00"s));
    EXPECT_THAT(read_images(images.path(), Split::train).labels, ElementsAre(1, 0));
    const TemporaryFile features("b-features-idx2-float", "\0\0\x0d\x02\0\0\0\x01\0\0\0\x02\x3f\x80\0\0\xc0\x20\0\0"s);
    const TemporaryFile its_own("b-labels-idx1-ubyte", labels("\x01"));
    const ImageSet set = read_images(features.path(), Split::train);
    EXPECT_THAT(set.pixels.shape, ElementsAre(1, 2));
    EXPECT_THAT(set.labels, ElementsAre(1));
}

TEST(Images, the_first_so_many) {
    const TemporaryFile images("a-images-idx3-ubyte", two_images());
    const TemporaryFile own("a-labels-idx1-ubyte", labels("\x03\x01"));
    const ImageSet set = read_images(images.path(), Split::train, 1);
    EXPECT_EQ(set.size(), 1);
    EXPECT_EQ(set.pixels.bytes.size(), 6u);
    EXPECT_THAT(set.labels, ElementsAre(3));
    EXPECT_EQ(read_images(images.path(), Split::train, 7).size(), 2);
}

TEST(Images, refuses_pairs_that_are_none) {
    const TemporaryFile images("a-images-idx3-ubyte", two_images());
    EXPECT_THAT(user_error_of([&] { read_images(images.path(), Split::train); }), HasSubstr("a-labels-idx1-ubyte"));
    EXPECT_TRUE(std::isnan(read_images(images.path(), Split::test).labels[1])) << "to predict, none are needed";
    const TemporaryFile nameless("a.idx", two_images());
    EXPECT_THAT(user_error_of([&] { read_images(nameless.path(), Split::validation); }),
                HasSubstr("train-labels-idx1-ubyte"));
    {
        const TemporaryFile three("a-labels-idx1-ubyte", labels("\x03\x01\x02"));
        EXPECT_THAT(user_error_of([&] { read_images(images.path(), Split::train); }),
                    AllOf(HasSubstr("3 labels"), HasSubstr("2 images")));
    }
    const TemporaryFile not_labels("a-labels-idx1-ubyte", two_images());
    EXPECT_FALSE(read_images(images.path(), Split::test).has_labels) << "nor are any looked at";
    EXPECT_THAT(user_error_of([&] { read_images(images.path(), Split::train); }), HasSubstr("3 dimensions"));
    EXPECT_THAT(user_error_of([&] { read_images(TemporaryFile("l-images-idx1", labels("\x03")).path(), Split::test); }),
                HasSubstr("1 dimension;"));
}

}  // namespace
}  // namespace strata::data
