/*
 * fuzz_gguf_split.c: a GGUF model in two or three files that name each other. Parts: the files.
 *
 * Beyond "no crash": every row that an accepted view promises can be read, from the file that has it; a failure names one
 * of the files.
 */
#include "fuzz_support.h"

#include "model_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 3 };

static struct fuzz_entry entries[MOST - 1][MOST] = {
    {{.name = "m-00001-of-00002.gguf"}, {.name = "m-00002-of-00002.gguf"}},
    {{.name = "m-00001-of-00003.gguf"},
     {.name = "m-00002-of-00003.gguf"},
     {.name = "m-00003-of-00003.gguf"}},
};

static void check(const struct mq_view *view, size_t files)
{
    fuzz_expect(view->files_count == files);
    for (size_t i = 0; i < view->tensors_count; i++) {
        const struct mq_tensor *t = &view->tensors[i];
        fuzz_expect(t->file < files);
        fuzz_read_rows(view, t, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part parts[MOST];
    struct mq_view *view;
    char path[128];
    moeq_error err = {0};
    const size_t n = fuzz_parts(data, size, parts, MOST);
    if (n < 2)
        return 0;
    struct fuzz_entry *files = entries[n - 2];
    for (size_t i = 0; i < n; i++)
        fuzz_put_entry(&files[i], parts[i].data, parts[i].size);
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), files[0].name);
    const moeq_status status = mq_view_open(path, &view, &err);
    if (status == MOEQ_OK) {
        check(view, n);
        mq_view_close(view);
    } else {
        fuzz_refused(status, &err, fuzz_folder());
    }
    return 0;
}
