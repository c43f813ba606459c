/* What files are called that are handed over in place of a model. */
#include "new_file.h"
#include "model_view.h"
#include "test_support.h"
#include "what_is_it.h"

#include <stdio.h>
#include <string.h>

struct sample {
    const char *bytes;
    size_t n;
    enum mq_file_kind kind;
    const char *is; /* how the sentence begins */
};

#define SAMPLE(text, kind, is)           \
    {                                    \
        text, sizeof(text) - 1, kind, is \
    }
#define ZIP_HEADER "PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"

static const struct sample samples[] = {
    SAMPLE("", MQ_FILE_BLANK, "is empty"),
    SAMPLE("\0\0\0\0\0\0\0\0\0\0\0\0", MQ_FILE_BLANK, "begins with 12 zero bytes (of 12)"),
    SAMPLE("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 26441533376\n",
           MQ_FILE_OTHER, "is a Git LFS pointer, which stands for a file of 26441533376 bytes"),
    SAMPLE("version https://git-lfs.github.com/spec/v1\nsize 99999999999999999999999999999\n",
           MQ_FILE_OTHER, "is a Git LFS pointer"),
    SAMPLE("version https://git-lfs.github.com/spec/v1\nsize ", MQ_FILE_OTHER,
           "is a Git LFS pointer"),
    SAMPLE("\xef\xbb\xbf"
           "version https://git-lfs.github.com/spec/v1\nsize 77\n",
           MQ_FILE_OTHER, "is a Git LFS pointer, which stands for a file of 77 bytes"),
    SAMPLE("<!DOCTYPE html><html>", MQ_FILE_OTHER, "is a web page"),
    SAMPLE("\xef\xbb\xbf\n  <HTML lang=en>", MQ_FILE_OTHER, "is a web page"),
    SAMPLE("<?xml version=\"1.0\"?><Error>", MQ_FILE_OTHER,
           "is XML (\"<?xml version=\"1.0\"?><Error>\")"),
    SAMPLE("{\"error\":\"Repository not found\"}", MQ_FILE_OTHER,
           "is an error message in JSON ({\"error\":\"Repository not found\"})"),
    SAMPLE("{ \"message\": \"no\"}", MQ_FILE_OTHER, "is an error message in JSON"),
    SAMPLE("Entry not found", MQ_FILE_TEXT, "is text (\"Entry not found\")"),
    SAMPLE("Zugriff verweigert: \xc3\xa4\nline 2", MQ_FILE_TEXT, "is text (\"Zugriff verweig"),
    SAMPLE("{\"model_type\": \"mixtral\"}", MQ_FILE_JSON, "is JSON"),
    SAMPLE(" [1]", MQ_FILE_JSON, "is JSON"),
    SAMPLE("{\"schemaVersion\":2,\"mediaType\":"
           "\"application/vnd.docker.distribution.manifest.v2+json\"}",
           MQ_FILE_OTHER, "is a manifest of Ollama's"),
    SAMPLE("lmgg\0\0", MQ_FILE_OTHER, "is a GGML file of before August 2023"),
    SAMPLE("fmgg\1\0\0\0", MQ_FILE_OTHER, "is a GGML file of before August 2023 (ggmf)"),
    SAMPLE("tjgg\3\0\0\0", MQ_FILE_OTHER, "is a GGML file of before August 2023 (ggjt)"),
    SAMPLE("algg\1\0\0\0", MQ_FILE_OTHER, "is a LoRA adapter of before GGUF"),
    SAMPLE("GGUF\3\0\0\0", MQ_FILE_GGUF, "is a GGUF file"),
    SAMPLE("\2\0\0\0\0\0\0\0{}", MQ_FILE_SAFETENSORS, "is a safetensors file"),
    SAMPLE("\2\0\0\0\0\0\0\1{}", MQ_FILE_UNKNOWN, ""),
    SAMPLE("PK\3\4rest", MQ_FILE_OTHER, "is a zip archive"),
    SAMPLE("PK\5\6\0\0", MQ_FILE_OTHER, "is an empty zip archive"),
    SAMPLE(ZIP_HEADER "\x10\0\0\0archive/data.pkl..", MQ_FILE_OTHER,
           "is a zip archive of PyTorch's"),
    SAMPLE(ZIP_HEADER "\x5\0\0\0a.npy..", MQ_FILE_OTHER, "is a zip archive of NumPy arrays"),
    SAMPLE(ZIP_HEADER "\xff\xff\0\0a.gguf", MQ_FILE_OTHER, "is a zip archive"),
    SAMPLE("\x80\2\x8a\x0al\xfc\x9c\x46\xf9 j", MQ_FILE_OTHER, "is a pickle of Python's"),
    SAMPLE("\x80\2}q\0(X", MQ_FILE_OTHER, "is a pickle of Python's"),
    SAMPLE("\x80\4\x95\x10\0\0", MQ_FILE_OTHER, "is a pickle of Python's"),
    SAMPLE("\x1f\x8b\x08\0", MQ_FILE_OTHER, "is a gzip archive"),
    SAMPLE("\xfd"
           "7zXZ\0\0\4",
           MQ_FILE_OTHER, "is an xz archive"),
    SAMPLE("\x93NUMPY\1\0", MQ_FILE_OTHER, "is an array of NumPy"),
    SAMPLE("\x89HDF\r\n\x1a\n", MQ_FILE_OTHER, "is an HDF5 file"),
    SAMPLE("MZqFpD='\n", MQ_FILE_OTHER, "is a llamafile"),
    SAMPLE("\0\5\x16\7\0\2\0\0", MQ_FILE_OTHER, "is the side file that macOS keeps"),
    SAMPLE("\2\0\0\0\x17\0\0\0blk.0.attn_q.weight", MQ_FILE_OTHER, "is an importance matrix"),
    SAMPLE("\n\x0e\n\5<unk>\x15", MQ_FILE_OTHER, "is a sentencepiece model"),
    SAMPLE("\1\2\3\4\5\6\7\1\2\3", MQ_FILE_UNKNOWN, ""),
    SAMPLE("\2", MQ_FILE_UNKNOWN, ""),
};

START_TEST(names_what_it_is)
{
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct sample *s = &samples[i];
        char *guarded = mq_test_guarded(s->n);
        struct mq_what what;
        memcpy(guarded, s->bytes, s->n);
        mq_what_is(guarded, s->n, s->n, &what);
        ck_assert_msg(what.kind == s->kind && strncmp(what.is, s->is, strlen(s->is)) == 0,
                      "%zu: kind %d, %s", i, what.kind, what.is);
        ck_assert(what.kind == MQ_FILE_UNKNOWN || what.advice);
        ck_assert_ptr_null(strchr(what.is, '\n'));
    }
}
END_TEST

/* Any beginning of any sample, at the end of readable memory. */
START_TEST(reads_no_byte_too_many)
{
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        for (size_t n = 0; n < samples[i].n; n++) {
            struct mq_what what;
            char *guarded = mq_test_guarded(n);
            memcpy(guarded, samples[i].bytes, n);
            mq_what_is(guarded, n, 1u << 20, &what);
            ck_assert(what.kind == MQ_FILE_UNKNOWN || what.advice);
        }
}
END_TEST

START_TEST(finds_tar_and_cut_characters)
{
    char bytes[MQ_WHAT_BYTES];
    struct mq_what what;
    memset(bytes, 'a', sizeof bytes);
    memcpy(bytes + 100, "\0\0\0", 3);
    memcpy(bytes + 257, "ustar\0", 6);
    mq_what_is(bytes, sizeof bytes, 10240, &what);
    ck_assert_str_eq(what.is, "is a tar archive");
    memset(bytes, 'a', sizeof bytes);
    bytes[sizeof bytes - 1] = '\xe2'; /* the rest of the character is behind the look */
    mq_what_is(bytes, sizeof bytes, 10240, &what);
    ck_assert_int_eq(what.kind, MQ_FILE_TEXT);
    mq_what_is(bytes, sizeof bytes, sizeof bytes, &what);
    ck_assert_int_eq(what.kind, MQ_FILE_UNKNOWN);
}
END_TEST

/* Opened as models, the samples are never taken for a damaged safetensors file. */
START_TEST(openers_say_it)
{
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct sample *s = &samples[i];
        const char *path = mq_test_temporary("sample.gguf");
        struct mq_view *view;
        moeq_error err = {0};
        ck_assert_ok(mq_file_replace(path, s->bytes, s->n, &err));
        ck_assert_int_ne(mq_view_open(path, &view, &err), MOEQ_OK);
        if (s->kind & (MQ_FILE_OTHER | MQ_FILE_TEXT | MQ_FILE_BLANK)) {
            ck_assert_msg(strstr(err.message, s->is), "%s", err.message);
            ck_assert_msg(strstr(err.message, ", no model: "), "%s", err.message);
        }
    }
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, names_what_it_is);
    tcase_add_test(tests, reads_no_byte_too_many);
    tcase_add_test(tests, finds_tar_and_cut_characters);
    tcase_add_test(tests, openers_say_it);
}

int main(void)
{
    return mq_test_main("what_is_it", add_tests);
}
