/*
 * fuzz_ids_file.c: a file of token ids (--ids). Parts: flags (bit 0: mended, see fuzz_safetensors), header, data.
 *
 * Beyond "no crash": accepted ids are below the vocabulary and as many as the windows say, and are read again the same;
 * a failure names the file.
 */
#include "fuzz_support.h"

#include "ids_file.h"

#include <stdlib.h>
#include <string.h>

enum { FLAGS, HEADER, DATA, PARTS };
enum { VOCABULARY = 1000 };

static moeq_status read_ids(const char *path, struct mq_windows *windows, int32_t **ids,
                            moeq_error *err)
{
    struct mq_arena *arena = mq_arena_create();
    struct mq_file identity;
    fuzz_expect(arena != NULL);
    const moeq_status status =
        mq_ids_file_read(path, VOCABULARY, arena, windows, ids, &identity, err);
    mq_arena_destroy(arena);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_file file;
    struct fuzz_part parts[PARTS];
    struct mq_windows windows = {0}, more = {0};
    int32_t *ids = NULL, *again = NULL;
    size_t n;
    uint32_t last;
    moeq_error err = {0};
    fuzz_parts(data, size, parts, PARTS);
    uint8_t *bytes = fuzz_safetensors(parts[HEADER], parts[DATA],
                                      parts[FLAGS].size && (parts[FLAGS].data[0] & 1), &n, &last);
    const char *path = fuzz_put(&file, bytes, n);
    free(bytes);
    const moeq_status status = read_ids(path, &windows, &ids, &err);
    if (status != MOEQ_OK) {
        fuzz_refused(status, &err, path);
        free(ids);
        return 0;
    }
    const size_t tokens = windows.count * windows.length;
    fuzz_expect(tokens && tokens <= n / 4);
    for (size_t i = 0; i < tokens; i++)
        fuzz_expect(windows.ids[i] >= 0 && windows.ids[i] < VOCABULARY);
    fuzz_expect(read_ids(path, &more, &again, &err) == MOEQ_OK && more.count == windows.count &&
                memcmp(ids, again, tokens * sizeof *ids) == 0);
    free(again);
    free(ids);
    return 0;
}
