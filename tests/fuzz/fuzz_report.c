/*
 * fuzz_report.c: result documents of sweep and verify, as `moeq report` takes them. Parts: documents; of several the
 * joined one is rendered.
 *
 * Beyond "no crash": an accepted document has a page in every format or a message; the same document gives the same
 * bytes; pages are UTF-8, say nothing that is no number, and hold no markup of a document's texts; a verdict that was put
 * into it changes nothing; a failure to read names the file.
 */
#include "fuzz_support.h"

#include "json.h"
#include "report.h"
#include "report_join.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 3 };

/* The beginning of a tag that no page has: of a text of the document (seeds have it) that was not escaped. */
static const char markup[] = "<zz";
/* Of charts: coordinates. */
static const char *const no_numbers[] = {"=\"nan", "=\"-nan", "=\"inf", "=\"-inf",
                                         " nan",   " -nan",   " -inf"};

static void check_page(enum mq_report_format format, const struct mq_buffer *page)
{
    size_t bad;
    fuzz_expect(page->size && mq_utf8_valid(page->data, page->size, &bad));
    if (format == MQ_REPORT_HTML || format == MQ_REPORT_SVG)
        fuzz_expect(!memmem(page->data, page->size, markup, sizeof markup - 1));
    for (size_t i = 0; format == MQ_REPORT_SVG && i < sizeof no_numbers / sizeof *no_numbers; i++)
        fuzz_expect(!memmem(page->data, page->size, no_numbers[i], strlen(no_numbers[i])));
}

static void render(const cJSON *document, enum mq_report_format format)
{
    struct mq_buffer page = {0}, again = {0};
    moeq_error err = {0};
    const moeq_status status = mq_report_render(document, format, &page, &err);
    if (status == MOEQ_OK) {
        check_page(format, &page);
        fuzz_expect(mq_report_render(document, format, &again, &err) == MOEQ_OK &&
                    again.size == page.size && memcmp(again.data, page.data, page.size) == 0);
    } else {
        fuzz_refused(status, &err, NULL);
    }
    mq_buffer_free(&page);
    mq_buffer_free(&again);
}

static void check_verdict(cJSON *document)
{
    char *before;
    moeq_error err = {0};
    moeq_status status = mq_report_put_verdict(document, &err);
    if (status != MOEQ_OK) {
        fuzz_refused(status, &err, NULL);
        return;
    }
    fuzz_expect((before = strdup(mq_report_verdict(document))) != NULL);
    status = mq_report_put_verdict(document, &err);
    fuzz_expect(status == MOEQ_OK && strcmp(before, mq_report_verdict(document)) == 0);
    free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[MOST] = {"first.json", "second.json", "third.json"};
    struct fuzz_part parts[MOST];
    cJSON *all[MOST] = {NULL}, *document = NULL;
    moeq_error err = {0};
    moeq_status status = MOEQ_OK;
    const size_t n = fuzz_parts(data, size, parts, MOST);
    for (size_t i = 0; i < n && status == MOEQ_OK; i++) {
        status =
            mq_report_parse((const char *)parts[i].data, parts[i].size, names[i], &all[i], &err);
        if (status != MOEQ_OK)
            fuzz_refused(status, &err, names[i]);
    }
    if (status == MOEQ_OK && n > 1) {
        status = mq_report_join((const cJSON *const *)all, names, n, &document, &err);
        if (status != MOEQ_OK)
            fuzz_refused(status, &err, NULL);
    } else if (n == 1) {
        document = all[0];
        all[0] = NULL;
    }
    if (document) {
        for (int format = MQ_REPORT_HTML; format <= MQ_REPORT_SVG; format++)
            render(document, (enum mq_report_format)format);
        check_verdict(document);
    }
    cJSON_Delete(document);
    for (size_t i = 0; i < n; i++)
        cJSON_Delete(all[i]);
    return 0;
}
