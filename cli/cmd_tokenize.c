/* cmd_tokenize.c: moeq tokenize. */
#include "model_options.h"

#include "error.h"
#include "file.h"
#include "json.h"
#include "json_tree.h"
#include "model_view.h"
#include "moeq_index.h"
#include "moeq_profile.h"
#include "policy.h"
#include "view_json.h"
#include "sentencepiece.h"
#include "text_input.h"
#include "text_lines.h"
#include "tokenizer.h"
#include "text_match.h"
#include "what_is_it.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_CAP_BYTES (1ull << 30)

/* From a SentencePiece model, with the tokenizer_config.json beside it, which may be absent. */
static moeq_status load_sentencepiece(const char *folder, const char *name,
                                      struct mq_tokenizer **tokenizer, moeq_error *err)
{
    char file[2 * PATH_MAX];
    struct mq_buffer config = {0}, json = {0};
    moeq_status status = MOEQ_OK;
    snprintf(file, sizeof file, "%s/tokenizer_config.json", folder);
    if (mq_path_exists(file))
        MQ_TRY_OUT(mq_file_read_all(file, 64u << 20, &config, err));
    MQ_TRY_OUT(mq_spm_folder_to_json(folder, name, &config, &json, NULL, err));
    snprintf(file, sizeof file, "%s/%s", folder, name);
    MQ_TRY_OUT(mq_tokenizer_load(json.data, json.size, file, tokenizer, err));
out:
    mq_buffer_free(&config);
    mq_buffer_free(&json);
    return status;
}

/* Of a file: a tokenizer.json, as it is, or a SentencePiece model. */
static moeq_status load_file(const char *path, struct mq_tokenizer **tokenizer, moeq_error *err)
{
    char folder[PATH_MAX];
    struct mq_buffer text;
    if (mq_ends_with(path, ".model")) {
        snprintf(folder, sizeof folder, "%s", path);
        char *slash = strrchr(folder, '/');
        if (slash)
            *slash = '\0';
        return load_sentencepiece(slash ? (*folder ? folder : "/") : ".", slash ? slash + 1 : path,
                                  tokenizer, err);
    }
    struct mq_what what;
    MQ_TRY(mq_what_is_file(path, &what, err));
    MQ_TRY(mq_refuse_what(path, &what, MQ_FILE_JSON, err));
    MQ_TRY(mq_file_read_all(path, 256u << 20, &text, err));
    const moeq_status status = mq_tokenizer_load(text.data, text.size, path, tokenizer, err);
    mq_buffer_free(&text);
    return status;
}

/* Of a folder, with what the files beside tokenizer.json say; weights may be missing. *view stays
 * for its notes; it is NULL if there is no tokenizer. */
static moeq_status load_folder(const char *path, struct mq_tokenizer **tokenizer,
                               struct mq_view **out, moeq_error *err)
{
    struct mq_view *view;
    MQ_TRY(mq_view_open_tokenizer(path, &view, err));
    moeq_status status = MOEQ_OK;
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/%s", path,
             view->tokenizer_source ? view->tokenizer_source : "tokenizer.json");
    if (view->side[MQ_SIDE_TOKENIZER].size)
        status = mq_tokenizer_load(view->side[MQ_SIDE_TOKENIZER].data,
                                   view->side[MQ_SIDE_TOKENIZER].size, file, tokenizer, err);
    else if (view->tokenizer_problem)
        status = mq_fail_file(err, MOEQ_MALFORMED, path, "%s", view->tokenizer_problem);
    if (*tokenizer)
        *out = view;
    else
        mq_view_close(view);
    return status;
}

/* From a tokenizer.json, a folder that holds one (weights or not), or a model that holds one in its
 * own files. */
static moeq_status load_tokenizer(const struct mq_options *options, const char *path,
                                  struct mq_tokenizer **tokenizer, struct mq_view **view,
                                  moeq_error *err)
{
    char index[PATH_MAX];
    if (mq_path_is_folder(path)) {
        MQ_TRY(load_folder(path, tokenizer, view, err));
        if (*view)
            return MOEQ_OK;
        MQ_TRY(mq_moeq_index_find(path, index, sizeof index, err));
        if (!index[0])
            return mq_fail_file(err, MOEQ_NOT_FOUND, path, "holds no tokenizer.json");
    } else if (mq_path_exists(path) &&
               (mq_ends_with(path, ".model") ||
                (mq_ends_with(path, ".json") && !mq_ends_with(path, MQ_INDEX_ENDING)))) {
        return load_file(path, tokenizer, err);
    }
    const struct mq_open_options open = mq_option_open(options);
    MQ_TRY(mq_view_open_with(path, &open, view, err));
    const struct mq_buffer *json = &(*view)->side[MQ_SIDE_TOKENIZER];
    return json->size ? mq_tokenizer_load(json->data, json->size, path, tokenizer, err)
                      : mq_fail_file(err, MOEQ_NOT_FOUND, path, "%s", mq_view_no_tokenizer(*view));
}

/* ---- notes ---- */

/* What there is to say of the model, its tokenizer and the text; NULL in any place: nothing.
 * NULL: no memory. */
static cJSON *notes_of(const struct mq_view *view, const struct mq_tokenizer *tokenizer,
                       const struct mq_text *text)
{
    char note[MQ_TEXT_NOTE_BYTES];
    struct mq_json_tree b = {0};
    cJSON *list = view ? mq_view_notes_json(view) : mq_json_array(&b);
    if (list && mq_tokenizer_note(tokenizer))
        mq_json_append(&b, list, cJSON_CreateString(mq_tokenizer_note(tokenizer)));
    if (list && text && mq_text_note(text, note))
        mq_json_append(&b, list, cJSON_CreateString(note));
    return mq_json_finish(&b, list);
}

static void print_notes(const struct mq_options *options, const cJSON *notes)
{
    for (const cJSON *n = notes ? notes->child : NULL; n; n = n->next)
        fprintf(stderr, "%s: %s: note: %s\n", mq_program_name(), options->positional[0], n->valuestring);
}

static void put_notes(struct mq_buffer *out, const cJSON *notes)
{
    mq_buffer_puts(out, ", \"notes\": [");
    for (const cJSON *n = notes ? notes->child : NULL; n; n = n->next) {
        mq_buffer_put_json(out, n->valuestring, strlen(n->valuestring));
        mq_buffer_puts(out, n->next ? ", " : "");
    }
    mq_buffer_puts(out, "]");
}

/* ---- what is printed ---- */

static void put_ids(struct mq_buffer *out, const struct mq_ids *ids)
{
    for (size_t i = 0; i < ids->size; i++)
        mq_buffer_printf(out, "%s%" PRId32, i ? ", " : "", ids->data[i]);
}

/* `name` says where the text is from, for messages. */
static moeq_status print_ids(const struct mq_tokenizer *tokenizer, const struct mq_options *options,
                             const cJSON *notes, const char *name, const char *text, size_t n,
                             moeq_error *err)
{
    struct mq_ids ids = {0};
    struct mq_buffer out = {0}, piece = {0};
    moeq_status status =
        mq_tokenizer_encode_file(tokenizer, name, text, n, !options->no_bos, &ids, err);
    if (status == MOEQ_OK && options->json) {
        /* No tree: of a large text it would be 64 bytes an id. */
        mq_buffer_printf(&out,
                         "{\"moeq_result\": \"tokenize\", \"result_version\": %d, "
                         "\"producer\": \"moeq " MOEQ_VERSION_STRING "\", \"count\": %zu, "
                         "\"ids\": [",
                         MQ_RESULT_VERSION, ids.size);
        put_ids(&out, &ids);
        mq_buffer_puts(&out, "]");
        if (options->decode) {
            mq_buffer_puts(&out, ", \"decoded\": ");
            status = mq_tokenizer_decode(tokenizer, ids.data, ids.size, false, &piece, err);
            mq_buffer_put_json(&out, piece.data ? piece.data : "", piece.size);
        }
        put_notes(&out, notes);
        mq_buffer_puts(&out, "}\n");
    } else if (status == MOEQ_OK && options->decode) {
        for (size_t i = 0; i < ids.size && status == MOEQ_OK; i++) {
            mq_buffer_clear(&piece);
            status = mq_tokenizer_decode(tokenizer, &ids.data[i], 1, false, &piece, err);
            mq_buffer_printf(&out, "%8" PRId32 "  ", ids.data[i]);
            mq_buffer_put_json(&out, piece.data ? piece.data : "", piece.size);
            mq_buffer_putc(&out, '\n');
        }
    } else if (status == MOEQ_OK) {
        put_ids(&out, &ids);
        mq_buffer_putc(&out, '\n');
    }
    if (status == MOEQ_OK && !mq_buffer_ok(&out))
        status = mq_fail_memory(err, "printing ids");
    if (status == MOEQ_OK) {
        fwrite(out.data, 1, out.size, stdout);
        if (!options->json && !options->quiet)
            printf("%zu tokens\n", ids.size);
    }
    mq_buffer_free(&out);
    mq_buffer_free(&piece);
    mq_ids_free(&ids);
    return status;
}

/* One line of --jsonl. */
static moeq_status print_text_line(const struct mq_tokenizer *tokenizer,
                                   const struct mq_text_line *line, moeq_error *err)
{
    struct mq_ids ids = {0};
    struct mq_buffer out = {0}, decoded = {0};
    moeq_status status = mq_tokenizer_encode(tokenizer, line->text.data ? line->text.data : "",
                                             line->text.size, line->add_special_tokens, &ids, err);
    if (status == MOEQ_OK)
        status = mq_tokenizer_decode(tokenizer, ids.data, ids.size, false, &decoded, err);
    if (status == MOEQ_OK) {
        mq_buffer_puts(&out, "{\"ids\": [");
        put_ids(&out, &ids);
        mq_buffer_puts(&out, "], \"decoded\": ");
        mq_buffer_put_json(&out, decoded.data ? decoded.data : "", decoded.size);
        mq_buffer_puts(&out, "}\n");
        if (mq_buffer_ok(&out))
            fwrite(out.data, 1, out.size, stdout);
        else
            status = mq_fail_memory(err, "printing ids");
    }
    mq_buffer_free(&out);
    mq_buffer_free(&decoded);
    mq_ids_free(&ids);
    return status;
}

static moeq_status print_jsonl(const struct mq_tokenizer *tokenizer, const char *path,
                               moeq_error *err)
{
    struct mq_buffer lines;
    struct mq_text_line line = {0};
    size_t at = 0;
    bool more = true;
    MQ_TRY(mq_input_read(path, TEXT_CAP_BYTES, &lines, err));
    moeq_status status = MOEQ_OK;
    while (status == MOEQ_OK && more) {
        status = mq_text_line_next(path, &lines, &at, &line, &more, err);
        if (status == MOEQ_OK && more)
            status = print_text_line(tokenizer, &line, err);
    }
    mq_buffer_free(&line.text);
    mq_buffer_free(&lines);
    return status;
}

enum mq_exit mq_cmd_tokenize(const struct mq_options *options)
{
    if (!options->text.count + !options->string + !options->jsonl != 2)
        return mq_usage("tokenize", "expected one of --text FILE, --string TEXT, --jsonl FILE");
    moeq_error err = {0};
    struct mq_tokenizer *tokenizer = NULL;
    struct mq_view *view = NULL;
    struct mq_text text = {0};
    cJSON *notes = NULL;
    moeq_status status = load_tokenizer(options, options->positional[0], &tokenizer, &view, &err);
    if (status == MOEQ_OK && options->text.count)
        status = mq_option_text(options, &text, &err);
    if (status == MOEQ_OK && !(notes = notes_of(view, tokenizer, &text)))
        status = mq_fail_memory(&err, "listing notes");
    if (!options->json || options->jsonl)
        print_notes(options, notes);
    if (status == MOEQ_OK && options->string)
        status = print_ids(tokenizer, options, notes, "--string", options->string,
                           strlen(options->string), &err);
    else if (status == MOEQ_OK && options->text.count)
        status = print_ids(tokenizer, options, notes, text.name, text.data, text.size, &err);
    else if (status == MOEQ_OK)
        status = print_jsonl(tokenizer, options->jsonl, &err);
    cJSON_Delete(notes);
    mq_text_free(&text);
    mq_tokenizer_free(tokenizer);
    mq_view_close(view);
    return status == MOEQ_OK ? mq_finish_output() : mq_report(&err);
}
