/*
 * fuzz_samples.c: the prompts of sweep --samples, a text or JSON a line.
 *
 * Beyond "no crash": accepted prompts are UTF-8, in the order of their lines; a failure names the file.
 */
#include "fuzz_support.h"

#include "json.h"
#include "samples.h"

#include <string.h>

static void check_text(const char *text)
{
    size_t bad;
    fuzz_expect(text && mq_utf8_valid(text, strlen(text), &bad));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_file file;
    const char *path = fuzz_put(&file, data, size);
    struct mq_samples samples = {0};
    size_t line = 0;
    moeq_error err = {0};
    const moeq_status status = mq_samples_read(path, &samples, &err);
    if (status != MOEQ_OK)
        fuzz_refused(status, &err, path);
    else
        fuzz_expect(samples.count && samples.count <= MQ_SAMPLES_MAX);
    for (size_t i = 0; status == MOEQ_OK && i < samples.count; i++) {
        const struct mq_sample *s = &samples.samples[i];
        check_text(s->prompt);
        if (s->system)
            check_text(s->system);
        fuzz_expect(s->line > line);
        line = s->line;
    }
    mq_samples_free(&samples);
    return 0;
}
