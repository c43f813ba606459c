/*
 * test_folder_tokenizer.c: folders whose tokenizer and chat templates stand in several files: what
 * a GGUF file has of them, against goldens of tests/data/make_folder_goldens.py; notes, and files
 * that are wrong.
 */
#include "error.h"
#include "folder_tokenizer.h"
#include "gguf_lines.h"
#include "gguf_vocab_export.h"
#include "test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- folders ---- */

static char folder[512];

static void in_folder(char path[1024], const char *name)
{
    snprintf(path, 1024, "%s/%s", folder, name);
}

static void write_bytes(const char *name, const char *text, size_t n)
{
    char path[1024];
    in_folder(path, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    mkdir(path, 0777);
    *slash = '/';
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static void write_file(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

/* Empty. */
static void new_folder(void)
{
    char command[600];
    snprintf(folder, sizeof folder, "%s", mq_test_temporary("folder"));
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(mkdir(folder, 0777), 0);
}

static struct mq_view *open_tokenizer(void)
{
    struct mq_view *view;
    moeq_error err = {0};
    ck_assert_msg(mq_view_open_tokenizer(folder, &view, &err) == MOEQ_OK, "%s", err.message);
    return view;
}

/* ---- goldens ---- */

/* What moeq writes besides: the golden has only tokens, ids and templates. */
static bool may_be_extra(const char *line, size_t n)
{
    static const char *const starts[] = {
        "tokenizer.ggml.model ",
        "tokenizer.ggml.pre ",
        "tokenizer.ggml.scores ",
        "tokenizer.ggml.merges ",
        "tokenizer.ggml.add_space_prefix ",
        "tokenizer.ggml.add_bos_token bool false",
        "tokenizer.ggml.add_eos_token bool false",
    };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (n >= strlen(starts[i]) && memcmp(line, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* Each line of `from` is a line of `in`, or may be missing. */
static void expect_lines(const char *name, const char *from, const char *in, bool extra)
{
    for (const char *at = from; *at;) {
        const size_t n = strcspn(at, "\n");
        bool found = false;
        for (const char *line = in; *line && !found;) {
            const size_t m = strcspn(line, "\n");
            found = n == m && memcmp(at, line, n) == 0;
            line += m + 1;
        }
        ck_assert_msg(found || (extra && may_be_extra(at, n)), "%s: %s: %.*s", name,
                      extra ? "not expected" : "missing", (int)(n < 300 ? n : 300), at);
        at += n + 1;
    }
}

static void run_case(const cJSON *c)
{
    const char *name = mq_json_get(c, "name")->valuestring;
    const char *golden = mq_json_get(c, "lines")->valuestring;
    const cJSON *file;
    new_folder();
    cJSON_ArrayForEach(file, mq_json_get(c, "files"))
    {
        write_file(file->string, file->valuestring);
    }
    struct mq_view *view = open_tokenizer();
    view->hparams.vocab = (uint32_t)mq_json_get(c, "vocab")->valueint;
    view->hparams.bos = view->hparams.eos = -1;
    struct mq_gguf_writer w = {.architecture = "llama"};
    const char *warning;
    moeq_error err = {0};
    ck_assert_msg(mq_gguf_put_vocab(&w, view, view->arena, &warning, &err) == MOEQ_OK, "%s: %s",
                  name, err.message);
    char *lines = gguf_lines(&w);
    expect_lines(name, golden, lines, false);
    expect_lines(name, lines, golden, true);
    free(lines);
    mq_gguf_writer_free(&w);
    mq_view_close(view);
}

START_TEST(as_transformers_and_the_gguf_package)
{
    const struct mq_json_limits limits = {.depth = 64, .values = 1000000};
    struct mq_buffer text = {0};
    moeq_error err = {0};
    cJSON *tree;
    ck_assert_ok(mq_file_read_all(mq_test_source("tests/formats/data/folder_tokenizers.json"),
                                  1 << 24, &text, &err));
    ck_assert_ok(mq_json_parse(text.data, text.size, &limits, "goldens", 0, &tree, &err));
    const cJSON *c;
    cJSON_ArrayForEach(c, mq_json_get(tree, "cases"))
    {
        run_case(c);
    }
    ck_assert_int_ge(cJSON_GetArraySize(mq_json_get(tree, "cases")), 20);
    cJSON_Delete(tree);
    mq_buffer_free(&text);
}
END_TEST

/* ---- notes ---- */

#define TOKENIZER                                                                              \
    "{\"added_tokens\":[],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":" \
    "[]}}"

static void expect_note(const struct mq_view *view, const char *text)
{
    for (size_t i = 0; i < view->notes_count; i++)
        if (strstr(view->notes[i], text))
            return;
    for (size_t i = 0; i < view->notes_count; i++)
        fprintf(stderr, "note: %s\n", view->notes[i]);
    ck_abort_msg("no note '%s'", text);
}

static void expect_text(const struct mq_buffer *b, const char *text)
{
    ck_assert_uint_eq(b->size, strlen(text));
    ck_assert(!b->size || memcmp(b->data, text, b->size) == 0);
}

/* The files stay as they are where there is nothing to say. */
START_TEST(nothing_to_merge)
{
    new_folder();
    write_file("tokenizer.json", TOKENIZER);
    write_file("tokenizer_config.json",
               "{\"model_max_length\":1000000000000000019884624838656,\"x\":1e400}");
    struct mq_view *view = open_tokenizer();
    expect_text(&view->side[MQ_SIDE_TOKENIZER], TOKENIZER);
    expect_text(&view->side[MQ_SIDE_TOKENIZER_CONFIG],
                "{\"model_max_length\":1000000000000000019884624838656,\"x\":1e400}");
    ck_assert_uint_eq(view->notes_count, 0);
    ck_assert_ptr_null(view->tokenizer_problem);
    mq_view_close(view);
}
END_TEST

START_TEST(a_side_file_that_cannot_be_read)
{
    new_folder();
    write_file("tokenizer.json", TOKENIZER);
    write_file("added_tokens.json", "{\"<a>\":\"2\"}");
    struct mq_view *view = open_tokenizer();
    ck_assert_uint_eq(view->side[MQ_SIDE_TOKENIZER].size, 0);
    ck_assert_str_eq(view->tokenizer_problem,
                     "added_tokens.json: token '<a>' has no id that is a whole number");
    expect_note(view, "the model is read without its tokenizer: added_tokens.json: token '<a>'");
    mq_view_close(view);
}
END_TEST

#define MODEL(model) "{\"added_tokens\":[],\"model\":{" model "}}"

START_TEST(a_tokenizer_that_cannot_be_read)
{
    static const struct {
        const char *json, *why;
    } damaged[] = {
        {"{\"model\":{\"type\":\"BPE\"", "tokenizer.json: JSON at byte 22: "},
        {TOKENIZER "x", "tokenizer.json: JSON at byte 76: "},
        {"[]", "tokenizer.json: tokenizer: the file is no JSON object"},
        {"{}", "tokenizer.json: model: it is missing, or its 'type' is no text"},
        {MODEL("\"type\":\"BPE\",\"vocab\":{},\"merges\":[]"), "model: 'vocab' is missing, empty"},
        {MODEL("\"type\":\"BPE\",\"vocab\":{\"a\":0}"), "model: 'merges' is missing or no list"},
        {MODEL("\"type\":\"Unigram\",\"vocab\":{\"a\":0}"), "model: 'vocab' is missing, empty"},
        {"{\"model\":1,\"model\":2}", "tokenizer.json: "},
    };
    static const char *const unsupported[] = {
        MODEL("\"type\":\"WordPiece\",\"vocab\":{\"a\":0}"),
        MODEL("\"vocab\":{\"a\":0},\"merges\":[]"),
    };
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        new_folder();
        write_file("tokenizer.json", damaged[i].json);
        struct mq_view *view = open_tokenizer();
        ck_assert_uint_eq(view->side[MQ_SIDE_TOKENIZER].size, 0);
        expect_note(view, MQ_NOTE_NO_TOKENIZER);
        ck_assert_msg(strstr(view->tokenizer_problem, damaged[i].why) != NULL, "%s",
                      view->tokenizer_problem);
        mq_view_close(view);
    }
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++) {
        new_folder();
        write_file("tokenizer.json", unsupported[i]);
        struct mq_view *view = open_tokenizer();
        expect_text(&view->side[MQ_SIDE_TOKENIZER], unsupported[i]);
        ck_assert_ptr_null(view->tokenizer_problem);
        expect_note(view, "the tokenizer is kept, but no text can be tokenized by it: "
                          "tokenizer.json: model '");
        mq_view_close(view);
    }
}
END_TEST

START_TEST(chat_templates_that_differ)
{
    static const struct {
        const char *config, *jinja, *legacy, *template, *note;
    } cases[] = {
        {"{\"chat_template\":\"x\"}", "x", "{\"chat_template\":\"x\"}", "x", NULL},
        {"{\"chat_template\":\"y\"}", "x", NULL, "x",
         "chat templates: those in files of their own (chat_template.jinja), not those of "
         "tokenizer_config.json, which differ"},
        {"{\"chat_template\":[{\"name\":\"default\",\"template\":\"x\"}]}", "x", NULL, "x",
         "not those of tokenizer_config.json, which differ"},
        {"{\"chat_template\":\"y\"}", NULL, "{\"chat_template\":\"x\"}", "", NULL},
        {"{}", NULL, "{\"chat_template\":\"x\"}", "x", NULL},
        {"{}", "y", "{\"chat_template\":\"x\"}", "y", "is not that of chat_template.json"},
        {"{}", "y", "[1]", "y", "chat_template.json is left out"},
        {"{}", NULL, "{\"chat_template\":3}", "",
         "chat_template.json is left out: it is no object whose \"chat_template\" is a text, or a "
         "list of at most 256 of them"},
        {"{}", "x\r\n\ry\n\r", NULL, "x\n\ny\n\n", NULL},
        {"{}", "\xff y", NULL, "", "chat_template.jinja is left out: it is no UTF-8 text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        new_folder();
        write_file("tokenizer_config.json", cases[i].config);
        if (cases[i].jinja)
            write_file("chat_template.jinja", cases[i].jinja);
        if (cases[i].legacy)
            write_file("chat_template.json", cases[i].legacy);
        struct mq_view *view = open_tokenizer();
        expect_text(&view->side[MQ_SIDE_CHAT_TEMPLATE], cases[i].template);
        if (cases[i].note)
            expect_note(view, cases[i].note);
        else
            ck_assert_msg(!view->notes_count, "case %zu: %s", i, view->notes[0]);
        mq_view_close(view);
    }
}
END_TEST

START_TEST(a_list_in_chat_template_json)
{
    static const char list[] =
        "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"a\"},{\"name\":\"default\","
        "\"template\":\"b\"},{\"name\":\"x\",\"template\":\"c\"},7,{\"name\":\"rag\","
        "\"template\":\"d\"}]}";
    new_folder();
    write_file("chat_template.json", list);
    struct mq_view *view = open_tokenizer();
    expect_text(&view->side[MQ_SIDE_CHAT_TEMPLATE], "b");
    expect_text(&view->side[MQ_SIDE_CHAT_TEMPLATES], "{\"x\":\"c\",\"rag\":\"d\"}");
    ck_assert_uint_eq(view->notes_count, 0);
    mq_view_close(view);
    write_file("chat_template.jinja", "e");
    view = open_tokenizer();
    expect_text(&view->side[MQ_SIDE_CHAT_TEMPLATE], "e");
    ck_assert_uint_eq(view->side[MQ_SIDE_CHAT_TEMPLATES].size, 0);
    expect_note(view, "the chat template is not that of chat_template.json");
    mq_view_close(view);
}
END_TEST

/* A sparse file. */
static void write_large(const char *name)
{
    char path[1024];
    write_file(name, "x");
    in_folder(path, name);
    ck_assert_int_eq(truncate(path, (16 << 20) + 1), 0);
}

/* What no model needs: a note. */
START_TEST(files_that_can_be_left_out)
{
    static const struct {
        const char *generation, *note;
    } cases[] = {
        {"", "generation_config.json is left out: it is empty"},
        {"{\"eos_token_id\":2", "a side file is left out: generation_config.json: JSON at byte 17"},
        {"[2]", "a side file is left out: generation_config.json: is no JSON object"},
        {"{\"a\":1,\"a\":2}", "a side file is left out: generation_config.json: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        new_folder();
        write_file("generation_config.json", cases[i].generation);
        struct mq_view *view = open_tokenizer();
        ck_assert_uint_eq(view->side[MQ_SIDE_GENERATION_CONFIG].size, 0);
        expect_note(view, cases[i].note);
        mq_view_close(view);
    }
    new_folder();
    write_large("chat_template.jinja");
    write_large("additional_chat_templates/big.jinja");
    write_file("additional_chat_templates/a.jinja", "a");
    struct mq_view *view = open_tokenizer();
    expect_note(view, "chat_template.jinja is left out: it is larger than any that is known");
    expect_note(view, "a chat template is left out: ");
    expect_text(&view->side[MQ_SIDE_CHAT_TEMPLATES], "{\"a\":\"a\"}");
    mq_view_close(view);
}
END_TEST

START_TEST(templates_in_a_folder)
{
    new_folder();
    write_file("chat_template.jinja", "one");
    write_file("additional_chat_templates/z.jinja", "\"z\"\n");
    write_file("additional_chat_templates/a.jinja", "a");
    write_file("additional_chat_templates/a.txt", "no");
    write_file("additional_chat_templates/.jinja", "no");
    write_file("additional_chat_templates/default.jinja", "two");
    write_file("additional_chat_templates/bad.jinja", "a\xff");
    struct mq_view *view = open_tokenizer();
    expect_text(&view->side[MQ_SIDE_CHAT_TEMPLATES], "{\"a\":\"a\",\"z\":\"\\\"z\\\"\\n\"}");
    expect_text(&view->side[MQ_SIDE_CHAT_TEMPLATE], "two");
    expect_note(view, "bad.jinja is left out: it is no UTF-8 text");
    expect_note(view, "additional_chat_templates/default.jinja, not the other one");
    mq_view_close(view);
    for (int i = 0; i < 256; i++) {
        char name[64];
        snprintf(name, sizeof name, "additional_chat_templates/n%d.jinja", i);
        write_file(name, "x");
    }
    moeq_error err = {0};
    ck_assert_int_eq(mq_view_open_tokenizer(folder, &view, &err), MOEQ_LIMIT);
    ck_assert_ptr_nonnull(strstr(err.message, "holds 260 chat templates, more than 256"));
    new_folder();
    write_file("additional_chat_templates/lfs.jinja",
               "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n");
    memset(&err, 0, sizeof err);
    ck_assert_int_ne(mq_view_open_tokenizer(folder, &view, &err), MOEQ_OK);
    ck_assert_ptr_nonnull(strstr(err.message, "lfs.jinja: is a Git LFS pointer"));
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, as_transformers_and_the_gguf_package);
    tcase_add_test(tests, nothing_to_merge);
    tcase_add_test(tests, a_side_file_that_cannot_be_read);
    tcase_add_test(tests, a_tokenizer_that_cannot_be_read);
    tcase_add_test(tests, chat_templates_that_differ);
    tcase_add_test(tests, a_list_in_chat_template_json);
    tcase_add_test(tests, files_that_can_be_left_out);
    tcase_add_test(tests, templates_in_a_folder);
}

int main(void)
{
    return mq_test_main("test_folder_tokenizer", add_tests);
}
