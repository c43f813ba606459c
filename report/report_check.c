/* report_check.c: figures of a result within what they can be. */
#include "report_check.h"

#include "error.h"
#include "json.h"
#include "json_tree.h"
#include "report_doc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a figure of a unit can be. Shares and divergences are sums of rounded terms. */
#define ROUNDING 1e-6
static const struct {
    double least, most;
    const char *words;
} ranges[] = {
    [MQ_UNIT_PLAIN] = {0, INFINITY, "0 or more"},
    [MQ_UNIT_RATIO] = {0, INFINITY, "0 or more"},
    [MQ_UNIT_SHARE] = {-ROUNDING, 1 + ROUNDING, "0 to 1"},
    [MQ_UNIT_NATS] = {-ROUNDING, INFINITY, "0 or more"},
    [MQ_UNIT_BITS] = {0, INFINITY, "0 or more"},
    [MQ_UNIT_BYTES] = {0, INFINITY, "0 or more"},
};

/* Where a message is about. */
struct place {
    const char *file, *row;
};

static moeq_status refuse(const struct place *p, const char *key, const char *part,
                          const char *expected, const cJSON *found, moeq_error *err)
{
    char shown[48];
    if (cJSON_IsNumber(found))
        snprintf(shown, sizeof shown, "%.9g", found->valuedouble);
    else
        snprintf(shown, sizeof shown, "\"%.40s\"",
                 cJSON_IsString(found) ? found->valuestring : "no number");
    return mq_fail_file(err, MOEQ_MALFORMED, p->file, "%s%.60s%s\"%.80s%s\": expected %s, found %s",
                        p->row ? "row '" : "", p->row ? p->row : "", p->row ? "': " : "", key, part,
                        expected, shown);
}

/* A number in a range, or nothing: null is what was not measured. */
static moeq_status check_number(const struct place *p, const char *key, const char *part,
                                const cJSON *item, double least, double most, const char *words,
                                moeq_error *err)
{
    if (!item || cJSON_IsNull(item))
        return MOEQ_OK;
    if (cJSON_IsNumber(item) && item->valuedouble >= least && item->valuedouble <= most)
        return MOEQ_OK;
    return refuse(p, key, part, words, item, err);
}

static moeq_status check_figure(const struct place *p, const struct mq_figure *f, const cJSON *item,
                                moeq_error *err)
{
    /* the logarithm of a ratio has both signs */
    const bool any = f == &mq_figures[MQ_FIGURE_LOG_PPL_RATIO];
    const double least = any ? -INFINITY : ranges[f->unit].least;
    const char *words = any ? "a number" : ranges[f->unit].words;
    if (!cJSON_IsObject(item))
        return check_number(p, f->json, "", item, least, ranges[f->unit].most, words, err);
    MQ_TRY(check_number(p, f->json, ".value", mq_json_get(item, "value"), least,
                        ranges[f->unit].most, words, err));
    return check_number(p, f->json, ".se", mq_json_get(item, "se"), 0, INFINITY, "0 or more", err);
}

static moeq_status check_row(struct place p, const cJSON *row, moeq_error *err)
{
    const char *name = mq_report_string(row, "name");
    p.row = name[0] ? name : "?";
    for (const struct mq_figure *f = mq_figures; f < mq_figures + MQ_FIGURE_COUNT; f++)
        if (f->scope == MQ_OF_MODEL)
            MQ_TRY(check_figure(&p, f, mq_report_figure_item(row, f), err));
    const cJSON *int8 = mq_json_get(row, "int8");
    return cJSON_IsObject(int8) ? check_row(p, int8, err) : MOEQ_OK;
}

/* Counts that do not fit together: more predictions than tokens. */
static moeq_status check_protocol(const struct place *p, const cJSON *protocol, moeq_error *err)
{
    static const char *const counts[] = {"context_tokens", "windows",       "text_tokens",
                                         "used_tokens",    "scored_tokens", "text_bytes"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        MQ_TRY(check_number(p, "protocol.", counts[i], mq_json_get(protocol, counts[i]), 0, 0x1p53,
                            "a count", err));
    const double all = mq_report_number(protocol, "windows") *
                       mq_report_number(protocol, "context_tokens"),
                 scored = mq_report_number(protocol, "scored_tokens");
    char expected[64];
    if (!(scored > all)) /* false where one is not there */
        return MOEQ_OK;
    snprintf(expected, sizeof expected, "at most the %.0f tokens of the windows", all);
    return refuse(p, "protocol.", "scored_tokens", expected, mq_json_get(protocol, "scored_tokens"),
                  err);
}

moeq_status mq_report_check(const cJSON *document, const char *name, moeq_error *err)
{
    const struct place p = {name, NULL};
    const char *kind = mq_report_string(document, "moeq_result");
    const cJSON *version = mq_json_get(document, "result_version");
    if (strcmp(kind, "sweep") != 0 && strcmp(kind, "verify") != 0)
        return MOEQ_OK;
    if (version && !(cJSON_IsNumber(version) && version->valuedouble == MQ_RESULT_VERSION)) {
        char expected[48];
        snprintf(expected, sizeof expected, "%d, which this program reads", MQ_RESULT_VERSION);
        return refuse(&p, "result_version", "", expected, version, err);
    }
    MQ_TRY(check_protocol(&p, mq_json_get(document, "protocol"), err));
    const cJSON *rows = mq_report_array(document, "rows");
    for (const cJSON *r = rows ? rows->child : NULL; r; r = r->next)
        if (cJSON_IsObject(r))
            MQ_TRY(check_row(p, r, err));
    return MOEQ_OK;
}
