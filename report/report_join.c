/* report_join.c: what makes results comparable, and putting their rows together. */
#include "report_join.h"

#include "comparison.h"
#include "error.h"
#include "json.h"
#include "report_doc.h"

#include <stdio.h>
#include <string.h>

/* What has to be the same, from what says most. */
static const struct {
    const char *object, *key, *what;
} same[] = {
    {"model", "family", "another original"},
    {"model", "layers", "another original"},
    {"model", "experts", "another original"},
    {"model", "vocabulary", "another original"},
    {"model", "files", "another original (its files are others)"},
    {"protocol", "name", "another protocol"},
    {"protocol", "context_tokens", "other windows"},
    {"protocol", "token_ids_crc32", "another text (or another number of its tokens)"},
    {"protocol", "scored_tokens", "another number of predictions"},
    {NULL, "compute", "another arithmetic"},
};

static const cJSON *item(const cJSON *document, const char *object, const char *key)
{
    return mq_json_get(object ? mq_json_get(document, object) : document, key);
}

/* A value in a message: numbers and texts as they are, lists not at all. */
static void show(const cJSON *value, char text[96])
{
    if (cJSON_IsString(value))
        snprintf(text, 96, "%.90s", value->valuestring);
    else if (cJSON_IsNumber(value))
        snprintf(text, 96, "%.17g", value->valuedouble);
    else
        snprintf(text, 96, "%s", cJSON_IsArray(value) ? "a list" : "nothing");
}

static moeq_status check_same(const cJSON *first, const char *first_name, const cJSON *other,
                              const char *name, moeq_error *err)
{
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const cJSON *a = item(first, same[i].object, same[i].key),
                    *b = item(other, same[i].object, same[i].key);
        char has[96], had[96];
        if ((!a && !b) || mq_json_same(a, b))
            continue;
        show(b, has);
        show(a, had);
        return mq_fail_file(
            err, MOEQ_INVALID_ARGUMENT, name,
            "is about %s than %s: \"%s%s%s\" is %s, and %s there; results are joined of one "
            "original, text, protocol and arithmetic",
            same[i].what, first_name, same[i].object ? same[i].object : "",
            same[i].object ? "." : "", same[i].key, has, had);
    }
    return MOEQ_OK;
}

/* ---- rows ---- */

static bool is_file(const cJSON *row)
{
    return mq_report_string(row, "path")[0] != '\0';
}

/* Which of a document's rows that have files it is: its place in "model_files". */
static const cJSON *files_of(const cJSON *document, size_t file)
{
    const cJSON *list = mq_report_array(document, "model_files");
    return list ? cJSON_GetArrayItem(list, (int)file) : NULL;
}

struct joining {
    cJSON *document, *rows, *files, *notes;
    size_t count, files_count;
    bool failed;
};

/* Documents of older programs have a verification's files in a list. */
static void put_path(const cJSON *document, cJSON *row, size_t file)
{
    const cJSON *models = mq_report_array(document, "models");
    const cJSON *path = models ? cJSON_GetArrayItem(models, (int)file) : NULL;
    if (!is_file(row) && !cJSON_IsTrue(mq_json_get(row, "is_baseline")) &&
        strcmp(mq_report_string(document, "moeq_result"), "verify") == 0 && cJSON_IsString(path))
        cJSON_AddStringToObject(row, "path", path->valuestring);
}

/* The row that stands for the same level or file; NULL: none. */
static const cJSON *find(const struct joining *j, const cJSON *row, const cJSON *files)
{
    size_t file = 0;
    for (const cJSON *r = j->rows->child; r; r = r->next) {
        const bool of_file = is_file(r);
        if (of_file && is_file(row) && files &&
            mq_json_same(cJSON_GetArrayItem(j->files, (int)file), files))
            return r;
        file += of_file;
        if (!of_file && !is_file(row) &&
            strcmp(mq_report_string(r, "name"), mq_report_string(row, "name")) == 0)
            return r;
    }
    return NULL;
}

static bool same_figures(const cJSON *a, const cJSON *b)
{
    return mq_json_same(mq_json_get(a, "kld_nats"), mq_json_get(b, "kld_nats")) &&
           mq_json_same(mq_json_get(a, "weight_bytes"), mq_json_get(b, "weight_bytes"));
}

/* Takes the row over. */
static void append(struct joining *j, cJSON *row, const cJSON *files, const cJSON *notes)
{
    if (is_file(row)) {
        cJSON_DeleteItemFromObjectCaseSensitive(row, "name");
        j->failed |= !cJSON_AddStringToObject(row, "name", mq_file_letter(j->files_count++));
        cJSON *copies[] = {files ? cJSON_Duplicate(files, true) : cJSON_CreateArray(),
                           notes ? cJSON_Duplicate(notes, true) : cJSON_CreateArray()};
        j->failed |= !cJSON_AddItemToArray(j->files, copies[0]);
        j->failed |= !cJSON_AddItemToArray(j->notes, copies[1]);
    }
    j->count++;
    j->failed |= !cJSON_AddItemToArray(j->rows, row);
}

static moeq_status take_row(struct joining *j, const cJSON *document, const cJSON *source,
                            size_t file, const char *name, moeq_error *err)
{
    const cJSON *notes = mq_report_array(document, "model_notes");
    cJSON *row = cJSON_Duplicate(source, true);
    if (!row)
        return mq_fail_memory(err, "joining results");
    put_path(document, row, file);
    const cJSON *files = is_file(row) ? files_of(document, file) : NULL;
    const cJSON *before = find(j, row, files);
    if (!before) {
        append(j, row, files, notes ? cJSON_GetArrayItem(notes, (int)file) : NULL);
        return MOEQ_OK;
    }
    moeq_status status = MOEQ_OK;
    if (!same_figures(before, row))
        status = mq_fail_file(
            err, MOEQ_INVALID_ARGUMENT, name,
            "has '%.60s', which an earlier result has with other figures: made by another "
            "text or version? Leave one of them out",
            is_file(row) ? mq_report_string(row, "path") : mq_report_string(row, "name"));
    cJSON_Delete(row);
    return status;
}

static moeq_status take_rows(struct joining *j, const cJSON *document, const char *name,
                             moeq_error *err)
{
    const cJSON *rows = mq_report_array(document, "rows");
    const bool verification = strcmp(mq_report_string(document, "moeq_result"), "verify") == 0;
    size_t file = 0;
    for (const cJSON *r = rows ? rows->child : NULL; r; r = r->next) {
        if (!cJSON_IsObject(r))
            return mq_fail_file(err, MOEQ_MALFORMED, name, "has a row that is no object");
        if (cJSON_IsTrue(mq_json_get(r, "is_baseline")) && j->rows->child)
            continue;
        if (j->count == MQ_REPORT_ARMS)
            return mq_fail_file(err, MOEQ_LIMIT, name,
                                "is one too many: at most %d rows are joined", MQ_REPORT_ARMS);
        MQ_TRY(take_row(j, document, r, file, name, err));
        file += !cJSON_IsTrue(mq_json_get(r, "is_baseline")) && (verification || is_file(r));
    }
    return MOEQ_OK;
}

/* What every row is about, from the first document that has it. */
static void take_frame(struct joining *j, const cJSON *document)
{
    static const char *const keys[] = {"result_version", "producer", "model",      "text",
                                       "texts",          "protocol", "compute",    "routing_chance",
                                       "source_card",    "run",      "noise_floor"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *value = mq_json_get(document, keys[i]);
        if (value && !mq_json_get(j->document, keys[i]))
            j->failed |= !cJSON_AddItemToObject(j->document, keys[i], cJSON_Duplicate(value, true));
    }
}

moeq_status mq_report_join(const cJSON *const *documents, const char *const *names, size_t count,
                           cJSON **joined, moeq_error *err)
{
    struct joining j = {.document = cJSON_CreateObject()};
    moeq_status status = j.document ? MOEQ_OK : mq_fail_memory(err, "joining results");
    *joined = NULL;
    if (status == MOEQ_OK) {
        cJSON_AddStringToObject(j.document, "moeq_result", "sweep");
        for (size_t i = 0; i < count; i++)
            take_frame(&j, documents[i]);
        j.rows = cJSON_AddArrayToObject(j.document, "rows");
        j.files = cJSON_AddArrayToObject(j.document, "model_files");
        j.notes = cJSON_AddArrayToObject(j.document, "model_notes");
        j.failed |= !j.rows || !j.files || !j.notes;
    }
    for (size_t i = 0; i < count && status == MOEQ_OK && !j.failed; i++) {
        const char *kind = mq_report_string(documents[i], "moeq_result");
        if (strcmp(kind, "sweep") != 0 && strcmp(kind, "verify") != 0)
            status = mq_fail_file(err, MOEQ_MALFORMED, names[i],
                                  "is no result of a sweep or a verification");
        if (status == MOEQ_OK)
            status = check_same(documents[0], names[0], documents[i], names[i], err);
        if (status == MOEQ_OK)
            status = take_rows(&j, documents[i], names[i], err);
    }
    if (status == MOEQ_OK && j.failed)
        status = mq_fail_memory(err, "joining results");
    if (status == MOEQ_OK)
        *joined = j.document;
    else
        cJSON_Delete(j.document);
    return status;
}
