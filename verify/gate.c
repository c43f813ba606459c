/* gate.c: reading, judging and writing gates. */
#include "gate.h"

#include "domains.h"
#include "error.h"
#include "figure_values.h"
#include "new_file.h"
#include "json.h"
#include "text_match.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_GATE_BYTES = 1 << 20, MAX_NAME = 400 };

/* ---- reading ---- */

static bool is_key(const cJSON *item, const char *key)
{
    return strcmp(item->string, key) == 0;
}

static moeq_status add_bound(struct mq_gate *gate, const char *name, const cJSON *bound,
                             moeq_error *err)
{
    if (!is_key(bound, "min") && !is_key(bound, "max"))
        return mq_fail_file(err, MOEQ_MALFORMED, gate->path,
                            "limit '%s': unknown key '%.40s'; expected \"min\" or \"max\"", name,
                            bound->string);
    if (!cJSON_IsNumber(bound) || !isfinite(bound->valuedouble))
        return mq_fail_file(err, MOEQ_MALFORMED, gate->path, "limit '%s': \"%s\" is no number",
                            name, bound->string);
    gate->limits[gate->count++] = (struct mq_gate_limit){
        .name = name, .is_max = is_key(bound, "max"), .bound = bound->valuedouble};
    return MOEQ_OK;
}

static moeq_status add_limit(struct mq_gate *gate, const cJSON *limit, moeq_error *err)
{
    const cJSON *bound;
    const size_t before = gate->count;
    if (strlen(limit->string) > MAX_NAME)
        return mq_fail_file(err, MOEQ_MALFORMED, gate->path, "unknown metric '%.60s...'",
                            limit->string);
    const char *name = mq_arena_strdup(gate->arena, limit->string);
    if (!name)
        return mq_fail_memory(err, "reading a gate");
    if (!cJSON_IsObject(limit))
        return mq_fail_file(err, MOEQ_MALFORMED, gate->path,
                            "limit '%s': expected an object such as {\"max\": 0.02}", name);
    cJSON_ArrayForEach(bound, limit) MQ_TRY(add_bound(gate, name, bound, err));
    if (gate->count == before)
        return mq_fail_file(err, MOEQ_MALFORMED, gate->path,
                            "limit '%s' has neither \"min\" nor \"max\"", name);
    if (gate->count == before + 2) {
        const struct mq_gate_limit *a = &gate->limits[before], *b = a + 1;
        if ((a->is_max ? b : a)->bound > (a->is_max ? a : b)->bound)
            return mq_fail_file(err, MOEQ_MALFORMED, gate->path,
                                "limit '%s': \"min\" is above \"max\": nothing passes", name);
    }
    return MOEQ_OK;
}

static moeq_status read_crc(struct mq_gate *gate, const cJSON *item, moeq_error *err)
{
    const char *text = cJSON_IsString(item) ? item->valuestring : "";
    if (strlen(text) != 8 || strspn(text, "0123456789abcdef") != 8)
        return mq_fail_file(err, MOEQ_MALFORMED, gate->path,
                            "\"token_ids_crc32\": expected eight hexadecimal digits");
    gate->has_ids_crc32 = true;
    gate->ids_crc32 = (uint32_t)strtoul(text, NULL, 16);
    return MOEQ_OK;
}

static moeq_status read_compute(struct mq_gate *gate, const cJSON *item, enum mq_compute *compute,
                                moeq_error *err)
{
    if (cJSON_IsString(item) && mq_compute_find(item->valuestring, compute))
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_MALFORMED, gate->path, "\"%s\": expected \"f32\" or \"int8\"",
                        item->string);
}

/* The keys but the limits. A gate that says nothing of arithmetic is about f32; one that says it
 * once, about a baseline of the same. */
static moeq_status read_keys(struct mq_gate *gate, const cJSON *tree, moeq_error *err)
{
    const cJSON *item, *baseline = mq_json_get(tree, "baseline_compute");
    cJSON_ArrayForEach(item, tree)
    {
        if (is_key(item, "token_ids_crc32"))
            MQ_TRY(read_crc(gate, item, err));
        else if (is_key(item, "compute"))
            MQ_TRY(read_compute(gate, item, &gate->compute, err));
        else if (!is_key(item, "moeq_gate") && !is_key(item, "limits") && !is_key(item, "made") &&
                 item != baseline)
            return mq_fail_file(err, MOEQ_MALFORMED, gate->path, "unknown key '%.40s'",
                                item->string);
    }
    gate->baseline_compute = gate->compute;
    return baseline ? read_compute(gate, baseline, &gate->baseline_compute, err) : MOEQ_OK;
}

static moeq_status read_tree(struct mq_gate *gate, const cJSON *tree, moeq_error *err)
{
    const cJSON *limits = mq_json_get(tree, "limits"), *version = mq_json_get(tree, "moeq_gate");
    const cJSON *item;
    if (!cJSON_IsObject(tree) || !version)
        return mq_fail_file(err, MOEQ_MALFORMED, gate->path,
                            "is no gate: expected {\"moeq_gate\": 1, \"limits\": {...}}");
    if (!cJSON_IsNumber(version) || version->valuedouble != 1)
        return mq_fail_file(err, MOEQ_UNSUPPORTED, gate->path,
                            "\"moeq_gate\": this program reads version 1");
    MQ_TRY(read_keys(gate, tree, err));
    if (!cJSON_IsObject(limits) || !limits->child)
        return mq_fail_file(err, MOEQ_MALFORMED, gate->path,
                            "has no \"limits\": everything would pass");
    size_t bounds = 0;
    cJSON_ArrayForEach(item, limits) bounds += (size_t)cJSON_GetArraySize(item);
    gate->limits = mq_arena_alloc(gate->arena, bounds + 1, sizeof *gate->limits);
    if (!gate->limits)
        return mq_fail_memory(err, "reading a gate");
    cJSON_ArrayForEach(item, limits) MQ_TRY(add_limit(gate, item, err));
    return MOEQ_OK;
}

moeq_status mq_gate_read(const char *path, struct mq_gate **out, moeq_error *err)
{
    const struct mq_json_limits limits = {.depth = 8, .values = 100000};
    struct mq_gate *gate = calloc(1, sizeof *gate);
    struct mq_buffer text = {0};
    cJSON *tree = NULL;
    moeq_status status;
    *out = NULL;
    if (!gate)
        return mq_fail_memory(err, "reading a gate");
    gate->arena = mq_arena_create();
    gate->path = gate->arena ? mq_arena_strdup(gate->arena, path) : NULL;
    if (!gate->path) {
        status = mq_fail_memory(err, "reading a gate");
        goto out;
    }
    MQ_TRY_OUT(mq_file_read_all(path, MAX_GATE_BYTES, &text, err));
    MQ_TRY_OUT(mq_json_parse(text.data, text.size, &limits, path, 0, &tree, err));
    MQ_TRY_OUT(mq_json_refuse_duplicates(tree, path, err));
    MQ_TRY_OUT(read_tree(gate, tree, err));
    *out = gate;
out:
    cJSON_Delete(tree);
    mq_buffer_free(&text);
    if (status != MOEQ_OK)
        mq_gate_free(gate);
    return status;
}

void mq_gate_free(struct mq_gate *gate)
{
    if (!gate)
        return;
    mq_arena_destroy(gate->arena);
    free(gate);
}

/* ---- judging ---- */

/* Figures of one text are those of its tokens: of the whole model's layers, margins and files there are none. */
static bool is_of_texts(const struct mq_metric *m)
{
    return m->scope == MQ_OF_MODEL && m->figure->section != MQ_SECTION_MEMORY &&
           m->figure->section != MQ_SECTION_TASKS;
}

/* "code/kld.mean": no figure's name has a '/', the name of a text may. */
static moeq_status resolve(struct mq_gate *gate, struct mq_gate_limit *l,
                           const struct mq_view *view, bool pair, moeq_error *err)
{
    const char *slash = strrchr(l->name, '/');
    MQ_TRY(mq_metric_find(slash ? slash + 1 : l->name, view, pair, gate->path, &l->metric, err));
    if (!slash)
        return MOEQ_OK;
    if (!is_of_texts(&l->metric))
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, gate->path,
                            "limit '%s': there is no '%s' of one text; leave '%.*s/' out", l->name,
                            slash + 1, (int)(slash - l->name), l->name);
    l->text = mq_arena_printf(gate->arena, "%.*s", (int)(slash - l->name), l->name);
    return l->text ? MOEQ_OK : mq_fail_memory(err, "preparing a gate");
}

moeq_status mq_gate_resolve(struct mq_gate *gate, const struct mq_view *view, bool pair,
                            moeq_error *err)
{
    for (size_t i = 0; i < gate->count; i++)
        MQ_TRY(resolve(gate, &gate->limits[i], view, pair, err));
    return MOEQ_OK;
}

moeq_status mq_gate_for_all(struct mq_gate *gate, size_t models, moeq_error *err)
{
    struct mq_gate_limit *all = mq_arena_alloc(gate->arena, gate->count * models + 1, sizeof *all);
    size_t n = 0;
    if (!all)
        return mq_fail_memory(err, "preparing a gate");
    for (size_t row = 1; row <= models; row++)
        for (size_t i = 0; i < gate->count; i++) {
            if (row == 1 && gate->limits[i].metric.scope == MQ_OF_PAIR)
                continue;
            all[n] = gate->limits[i];
            all[n++].row = row;
        }
    gate->limits = all;
    gate->count = n;
    return MOEQ_OK;
}

/* A limit on a text that there is not must not cost an evaluation. */
static moeq_status check_text(const struct mq_gate *gate, const struct mq_gate_limit *l,
                              const struct mq_text_windows *text, moeq_error *err)
{
    struct mq_buffer names = {0};
    for (size_t i = 0; i < text->domains_count; i++) {
        if (strcmp(text->domains[i].name, l->text) == 0) {
            mq_buffer_free(&names);
            return MOEQ_OK;
        }
        mq_buffer_printf(&names, "%s%s", i ? ", " : ": ", text->domains[i].name);
    }
    const bool some = text->domains_count && mq_buffer_ok(&names);
    mq_fail_file(err, MOEQ_INVALID_ARGUMENT, gate->path,
                 "limit '%s': no text is named '%s' (--text NAME=FILE); %s%.400s", l->name, l->text,
                 some ? "there are" : "none has a name", some ? names.data : "");
    mq_buffer_free(&names);
    return MOEQ_INVALID_ARGUMENT;
}

moeq_status mq_gate_check(const struct mq_gate *gate, const struct mq_comparison *result,
                          moeq_error *err)
{
    const enum mq_compute compute = result->compute;
    const enum mq_compute baseline = result->rows[0].compute;
    if (gate->has_ids_crc32 && gate->ids_crc32 != result->text.ids_crc32)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, gate->path,
                            "was made for other tokens (token_ids_crc32 %08" PRIx32
                            ", these have %08" PRIx32
                            "): evaluate the same text with the same protocol, or make a new gate",
                            gate->ids_crc32, result->text.ids_crc32);
    if (gate->compute != compute || gate->baseline_compute != baseline)
        return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, gate->path,
                            "was made with --compute %s and a baseline of %s, this is %s and a "
                            "baseline of %s: use the same arithmetic, or make a new gate",
                            mq_compute_name(gate->compute), mq_compute_name(gate->baseline_compute),
                            mq_compute_name(compute), mq_compute_name(baseline));
    for (size_t i = 0; i < gate->count; i++)
        if (gate->limits[i].text)
            MQ_TRY(check_text(gate, &gate->limits[i], &result->text, err));
    return MOEQ_OK;
}

/* A figure of a row, or of one text of it. */
static struct mq_estimate value_of(const struct mq_metric *metric, const char *text,
                                   const struct mq_comparison *result, size_t row)
{
    const struct mq_arm_result *r = &result->rows[row].result;
    if (!text)
        return mq_metric_value(metric, result, row);
    for (size_t i = 0; i < r->domains_count; i++)
        if (strcmp(r->domains[i].name, text) == 0)
            return mq_figure_of_result(metric->figure, &r->domains[i].figures);
    return (struct mq_estimate){NAN, NAN};
}

moeq_status mq_gate_judge(struct mq_gate *gate, const struct mq_comparison *result, moeq_error *err)
{
    MQ_TRY(mq_gate_check(gate, result, err));
    gate->broken = 0;
    for (size_t i = 0; i < gate->count; i++) {
        struct mq_gate_limit *l = &gate->limits[i];
        l->model = l->row ? result->rows[l->row].name : NULL;
        l->found =
            value_of(&l->metric, l->text, result, l->row ? l->row : result->candidates_count);
        /* false for NaN: what cannot be measured is not within its limit */
        l->kept = l->is_max ? l->found.value <= l->bound : l->found.value >= l->bound;
        gate->broken += !l->kept;
    }
    return MOEQ_OK;
}

void mq_gate_describe(const struct mq_gate_limit *l, char *text, size_t room)
{
    const char *side = l->is_max ? "max" : "min", *of = l->model ? l->model : "";
    const char *colon = l->model ? ": " : "";
    char se[32] = "";
    if (isnan(l->found.value)) {
        snprintf(text, room, "%s%s%s is not defined here, %s %.5g", of, colon, l->name, side,
                 l->bound);
        return;
    }
    if (!isnan(l->found.se))
        snprintf(se, sizeof se, " (se %.1g)", l->found.se);
    if (l->kept)
        snprintf(text, room, "%s%s%s %.5g, %s %.5g%s", of, colon, l->name, l->found.value, side,
                 l->bound, se);
    else
        snprintf(text, room, "%s%s%s %.5g %c %s %.5g by %.2g%s", of, colon, l->name, l->found.value,
                 l->is_max ? '>' : '<', side, l->bound, fabs(l->found.value - l->bound), se);
}

/* ---- writing ---- */

/* Of the model of a row; 0: the last one, which gates are about. */
static const char *judged_name(const struct mq_comparison *result, size_t number)
{
    const struct mq_comparison_row *row = &result->rows[number ? number : result->candidates_count];
    return row->file ? mq_base_name(row->file->path) : row->name;
}

const char *mq_gate_judged_name(const struct mq_comparison *result)
{
    const struct mq_comparison_row *row = &result->rows[result->candidates_count];
    return row->file ? row->file->path : row->name;
}

/* A path as JSON or XML text: what is no UTF-8 cannot stand there. */
static const char *printable(const char *path)
{
    size_t bad;
    return mq_utf8_valid(path, strlen(path), &bad) ? path : "?";
}

/* The bound of a value: its distance from the ideal grows by the margin, and the slack is added. A
 * value on the far side of the ideal (a perplexity below the baseline's) is luck: the ideal must
 * pass too. */
static double bound_of(const struct mq_figure *figure, double value, double margin)
{
    const double ideal = mq_figure_ideal(figure);
    const double room = fabs(value - ideal) * margin + mq_figure_slack(figure);
    return figure->better == MQ_MORE ? fmin(value, ideal) - room : fmax(value, ideal) + room;
}

static bool is_written(const struct mq_metric *m)
{
    return m->scope == MQ_OF_LAYER ? m->figure->layers_written : m->figure->written;
}

/* Limits of the whole (text NULL) or of one text; *first: none stands before. */
static void print_limits(const struct mq_comparison *result, double margin, const char *text,
                         bool *first, struct mq_buffer *b)
{
    for (struct mq_metric m = {0}; mq_metric_next(&m, result->baseline->view, false);) {
        char name[MQ_METRIC_NAME];
        if (!is_written(&m) || (text && !is_of_texts(&m)))
            continue;
        const double value = value_of(&m, text, result, result->candidates_count).value;
        if (isnan(value))
            continue;
        mq_metric_print(m.figure, m.scope, m.n, name);
        struct mq_buffer whole = {0};
        mq_buffer_printf(&whole, "%s%s%s", text ? text : "", text ? "/" : "", name);
        mq_buffer_puts(b, *first ? "\n    " : ",\n    ");
        if (mq_buffer_ok(&whole))
            mq_buffer_put_json(b, whole.data, whole.size);
        else
            b->failed = true;
        mq_buffer_free(&whole);
        /* nine digits: rounding stays far below the slack */
        mq_buffer_printf(b, ": {\"%s\": %.9g}", m.figure->better == MQ_MORE ? "min" : "max",
                         bound_of(m.figure, value, margin));
        *first = false;
    }
}

moeq_status mq_gate_write(const char *path, const struct mq_comparison *result, double margin,
                          bool texts, const struct mq_claims *claims, moeq_error *err)
{
    bool first = true;
    const struct mq_text_windows *text = &result->text;
    const char *model = printable(judged_name(result, 0));
    struct mq_buffer b = {0};
    mq_buffer_puts(&b, "{\n  \"moeq_gate\": 1,\n  \"made\": {\"by\": \"moeq " MOEQ_VERSION_STRING
                       "\", \"from\": ");
    mq_buffer_put_json(&b, model, strlen(model));
    mq_buffer_printf(&b,
                     ", \"margin\": %.9g, \"protocol\": \"%s\", \"windows\": %zu, \"context\": "
                     "%zu},\n  \"token_ids_crc32\": \"%08" PRIx32 "\",\n  \"compute\": \"%s\",\n",
                     margin, mq_protocol_name(text->protocol), text->windows.count,
                     text->windows.length, text->ids_crc32, mq_compute_name(result->compute));
    if (!mq_same_compute(result))
        mq_buffer_printf(&b, "  \"baseline_compute\": \"%s\",\n",
                         mq_compute_name(result->rows[0].compute));
    mq_buffer_puts(&b, "  \"limits\": {");
    print_limits(result, margin, NULL, &first, &b);
    for (size_t i = 0; texts && i < text->domains_count; i++)
        print_limits(result, margin, text->domains[i].name, &first, &b);
    mq_buffer_puts(&b, "\n  }\n}\n");
    const moeq_status status = mq_buffer_ok(&b)
                                   ? mq_file_replace_claimed(path, b.data, b.size, claims, err)
                                   : mq_fail_memory(err, "writing a gate");
    mq_buffer_free(&b);
    return status;
}

/* Text as XML allows it (XML 1.0, section 2.2: of control characters only tab and line ends). */
static void put_xml(struct mq_buffer *b, const char *text)
{
    for (const char *p = printable(text); *p; p++) {
        switch (*p) {
        case '&':
            mq_buffer_puts(b, "&amp;");
            break;
        case '<':
            mq_buffer_puts(b, "&lt;");
            break;
        case '>':
            mq_buffer_puts(b, "&gt;");
            break;
        case '"':
            mq_buffer_puts(b, "&quot;");
            break;
        default:
            mq_buffer_putc(b, (unsigned char)*p < 0x20 ? '?' : *p);
        }
    }
}

moeq_status mq_gate_write_junit(const char *path, const struct mq_gate *gate,
                                const struct mq_comparison *result, const struct mq_claims *claims,
                                moeq_error *err)
{
    struct mq_buffer b = {0};
    mq_buffer_puts(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    mq_buffer_printf(&b,
                     "<testsuites name=\"moeq verify\" tests=\"%zu\" failures=\"%zu\">\n"
                     "  <testsuite name=\"moeq verify\" tests=\"%zu\" failures=\"%zu\" "
                     "errors=\"0\" skipped=\"0\">\n",
                     gate->count, gate->broken, gate->count, gate->broken);
    for (size_t i = 0; i < gate->count; i++) {
        const struct mq_gate_limit *l = &gate->limits[i];
        char line[256];
        mq_gate_describe(l, line, sizeof line);
        mq_buffer_puts(&b, "    <testcase classname=\"moeq.verify.");
        put_xml(&b, judged_name(result, l->row));
        mq_buffer_puts(&b, "\" name=\"");
        put_xml(&b, l->name);
        mq_buffer_printf(&b, " %s %.9g\"", l->is_max ? "max" : "min", l->bound);
        if (l->kept) {
            mq_buffer_puts(&b, "/>\n");
            continue;
        }
        mq_buffer_puts(&b, ">\n      <failure type=\"regression\" message=\"");
        put_xml(&b, line);
        mq_buffer_puts(&b, "\"/>\n    </testcase>\n");
    }
    mq_buffer_puts(&b, "  </testsuite>\n</testsuites>\n");
    const moeq_status status = mq_buffer_ok(&b)
                                   ? mq_file_replace_claimed(path, b.data, b.size, claims, err)
                                   : mq_fail_memory(err, "writing JUnit XML");
    mq_buffer_free(&b);
    return status;
}

moeq_status mq_gate_write_junit_error(const char *path, const char *what, const char *reason,
                                      moeq_error *err)
{
    struct mq_buffer b = {0};
    mq_buffer_puts(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                       "<testsuites name=\"moeq verify\" tests=\"1\" failures=\"0\" errors=\"1\">\n"
                       "  <testsuite name=\"moeq verify\" tests=\"1\" failures=\"0\" errors=\"1\" "
                       "skipped=\"0\">\n    <testcase classname=\"moeq.verify\" name=\"");
    put_xml(&b, what);
    mq_buffer_puts(&b, "\">\n      <error type=\"not verified\" message=\"");
    put_xml(&b, reason);
    mq_buffer_puts(&b, "\"/>\n    </testcase>\n  </testsuite>\n</testsuites>\n");
    const moeq_status status = mq_buffer_ok(&b) ? mq_file_replace(path, b.data, b.size, err)
                                                : mq_fail_memory(err, "writing JUnit XML");
    mq_buffer_free(&b);
    return status;
}

/* ---- a verification's ---- */

moeq_status mq_gate_prepare(const struct mq_gate_request *request, const struct mq_view *view,
                            size_t models, struct mq_gate **gate, moeq_error *err)
{
    *gate = NULL;
    if (!request->limits)
        return MOEQ_OK;
    MQ_TRY(mq_gate_read(request->limits, gate, err));
    MQ_TRY(mq_gate_resolve(*gate, view, models > 1, err));
    return request->all ? mq_gate_for_all(*gate, models, err) : MOEQ_OK;
}

moeq_status mq_gate_conclude(const struct mq_gate_request *request, struct mq_gate *gate,
                             const struct mq_comparison *result, moeq_error *err)
{
    if (gate)
        MQ_TRY(mq_gate_judge(gate, result, err));
    if (request->write)
        MQ_TRY(mq_gate_write(request->write, result, request->margin, request->texts,
                             request->claims, err));
    return gate && request->junit
               ? mq_gate_write_junit(request->junit, gate, result, request->claims, err)
               : MOEQ_OK;
}
