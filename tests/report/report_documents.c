/* report_documents.c: see report_documents.h. */
#include "report_documents.h"

#include "test_support.h"

#include <stdio.h>
#include <string.h>

/* A level's row: size in bytes, KLD, routing agreement. */
void add_row(cJSON *rows, const char *name, double bytes, double kld, double exact)
{
    char text[2048];
    snprintf(text, sizeof text,
             "{\"name\": \"x\", \"is_baseline\": false, \"file_bytes\": %.0f, "
             "\"bits_per_weight\": 4.5, \"perplexity\": {\"value\": 5, \"se\": 0.1}, "
             "\"ppl_ratio\": {\"value\": 1.003, \"se\": 0.0005}, "
             "\"ln_ppl_ratio\": {\"value\": 0.003, \"se\": 0.0005}, "
             "\"kld_nats\": {\"mean\": {\"value\": %.9g, \"se\": 0.00001}, \"median\": 0.001, "
             "\"p90\": 0.01, \"p99\": 0.1, \"p99_9\": 0.2, \"max\": 0.5, \"tokens\": 1000}, "
             "\"same_top_rate\": {\"value\": 0.953, \"se\": 0.002}, \"routing\": {"
             "\"overall\": {\"exact_set_rate\": {\"value\": %.6g, \"se\": 0.001}}, "
             "\"layers\": [{\"layer\": 0, \"exact_set_rate\": {\"value\": 0.97, \"se\": 0.001}, "
             "\"expert_load\": {\"baseline\": [0.25, 0.75], \"arm\": [0.2, 0.8]}}, "
             "{\"layer\": 1, \"exact_set_rate\": {\"value\": null, \"se\": null}}], "
             "\"kld_by_changed_layers\": ["
             "{\"changed_layers\": 0, \"or_more\": false, \"scored_tokens\": 900, "
             "\"kld_mean_nats\": {\"value\": 0.001, \"se\": 0.0001}}, "
             "{\"changed_layers\": 1, \"or_more\": true, \"scored_tokens\": 100, "
             "\"kld_mean_nats\": {\"value\": 0.027, \"se\": 0.002}}], "
             "\"baseline_margins\": ["
             "{\"from_logits\": 0, \"to_logits\": 0.1, \"choices\": 100, \"changed\": 30}, "
             "{\"from_logits\": 0.1, \"to_logits\": null, \"choices\": 900, \"changed\": 1}]}}",
             bytes, kld, exact);
    cJSON *row = cJSON_Parse(text);
    ck_assert_ptr_nonnull(row);
    cJSON_ReplaceItemInObject(row, "name", cJSON_CreateString(name));
    cJSON_AddItemToArray(rows, row);
}

cJSON *sweep_document(const char *path)
{
    cJSON *document = cJSON_Parse(
        "{\"moeq_result\": \"sweep\", \"producer\": \"moeq\", \"text\": \"wiki.txt\", "
        "\"model\": {\"family\": \"mixtral\", \"layers\": 2, \"experts\": 2, "
        "\"experts_per_token\": 1}, \"protocol\": {\"name\": \"half\", \"windows\": 4, "
        "\"scored_tokens\": 1000}, \"rows\": [{\"name\": \"source\", \"is_baseline\": true, "
        "\"file_bytes\": 16000000000, \"bits_per_weight\": 16, "
        "\"perplexity\": {\"value\": 4.98, \"se\": 0.1}}]}");
    ck_assert_ptr_nonnull(document);
    cJSON *model = cJSON_GetObjectItem(document, "model");
    cJSON_AddStringToObject(model, "path", path);
    return document;
}

cJSON *three_levels(const char *path)
{
    cJSON *document = sweep_document(path), *rows = cJSON_GetObjectItem(document, "rows");
    add_row(rows, "q8_0", 8.5e9, 0.0012, 0.997);
    add_row(rows, "q4_k", 4.5e9, 0.0309, 0.978);
    add_row(rows, "q3_k", 3.4e9, 0.11, 0.93);
    return document;
}

char *rendered(const cJSON *document, enum mq_report_format format)
{
    struct mq_buffer out = {0};
    moeq_error err = {0};
    ck_assert_ok(mq_report_render(document, format, &out, &err));
    return out.data; /* the caller frees it */
}

/* As `verify` prints it; the gate of one broken limit and one kept, if `gate`. */
cJSON *verification(bool two, bool gate)
{
    cJSON *document = sweep_document("ref.moeqref"), *rows = cJSON_GetObjectItem(document, "rows");
    cJSON_ReplaceItemInObject(document, "moeq_result", cJSON_CreateString("verify"));
    cJSON_AddItemToObject(document, "against",
                          cJSON_Parse("{\"path\": \"dir/ref.moeqref\", \"kind\": \"recording\"}"));
    cJSON_AddItemToObject(
        document, "models",
        cJSON_Parse(two ? "[\"dir/old.moeq\", \"dir/new.moeq\"]" : "[\"dir/new.moeq\"]"));
    add_row(rows, two ? "A" : "model", 4.5e9, 0.0309, 0.978);
    if (two) {
        add_row(rows, "B", 4.7e9, 0.0109, 0.985);
        cJSON_AddItemToObject(
            document, "b_minus_a",
            cJSON_Parse("{\"bootstrap\": {\"windows\": 37, \"resamples\": 1000, \"generator\": "
                        "\"splitmix64\", \"seed\": 20260101}, \"figures\": {"
                        "\"kld_nats\": {\"mean\": -0.02, \"se\": 0.001, \"ci95\": [-0.022, "
                        "-0.018]}, \"exact_set_rate\": {\"mean\": 0.007, \"se\": 0.004, "
                        "\"ci95\": [-0.001, 0.015]}, \"<odd {x\": {\"mean\": 1, \"se\": null, "
                        "\"ci95\": [null, null]}}}"));
    }
    if (gate)
        cJSON_AddItemToObject(
            document, "gate",
            cJSON_Parse("{\"file\": \"gate.json\", \"broken\": 1, \"limits\": ["
                        "{\"metric\": \"kld.mean\", \"max\": 0.02, \"found\": {\"value\": 0.0309, "
                        "\"se\": 0.0008}, \"kept\": false}, {\"metric\": \"same_top\", \"min\": "
                        "0.9, \"found\": {\"value\": 0.953, \"se\": 0.002}, \"kept\": true}]}"));
    return document;
}

/* Every tag that opens closes, in order; attributes are quoted, so '>' inside them is escaped. */
void check_balanced(const char *html)
{
    char names[64][16];
    size_t depth = 0;
    for (const char *p = html; (p = strchr(p, '<')); p++) {
        if (p[1] == '!')
            continue;
        char name[16];
        ck_assert_int_eq(sscanf(p + 1 + (p[1] == '/'), "%15[a-z0-9]", name), 1);
        const char *end = strchr(p, '>');
        ck_assert_ptr_nonnull(end);
        if (p[1] == '/') {
            ck_assert_uint_gt(depth, 0);
            ck_assert_str_eq(names[--depth], name);
        } else if (end[-1] != '/' && strcmp(name, "meta") && strcmp(name, "link") &&
                   strcmp(name, "br")) {
            ck_assert_uint_lt(depth, 64);
            strcpy(names[depth++], name);
        }
    }
    ck_assert_uint_eq(depth, 0);
}

size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

void check_page(const char *html)
{
    static const char *const forbidden[] = {"<script", "http:", "https:", "src=",  "url(",
                                            "@import", "nan",   "inf\"",  "onload"};
    check_balanced(html);
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
        ck_assert_msg(!strstr(html, forbidden[i]), "the page has '%s'", forbidden[i]);
    const size_t charts = count(html, "<svg ") - count(html, "<svg class=\"icon\"");
    ck_assert_uint_eq(count(html, "role=\"img\""), charts);
    ck_assert_uint_eq(count(html, "<desc "), charts);
    ck_assert_uint_eq(count(html, "<table"), count(html, "<caption"));
    ck_assert_uint_eq(count(html, "<th>"), 0); /* each has a scope */
}

/* Every number of a tree becomes null. */
void forget_numbers(cJSON *item)
{
    if (cJSON_IsNumber(item))
        item->type = (item->type & ~0xff) | cJSON_NULL;
    for (cJSON *child = item->child; child; child = child->next)
        forget_numbers(child);
}
