/*
 * fuzz_moeq_shards.c: a moeq model in two files, and its index. Parts: flags (bit 0: the shards are mended, see
 * fuzz_safetensors), the index, and of each shard header and data.
 *
 * In the index "@1" and "@2" stand for a shard's bytes, "########" (the first, the second) for the last word of its
 * checksums.
 *
 * Beyond "no crash": every row that an accepted view promises can be read and decoded; a failure names the folder.
 */
#include "fuzz_support.h"

#include "levels.h"
#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLAGS, INDEX, HEADERS, PARTS = HEADERS + 4, SHARDS = 2 };

static struct fuzz_entry index_file = {.name = "m.moeq.index.json"};
static struct fuzz_entry shards[SHARDS] = {{.name = "m-00001-of-00002.moeq"},
                                           {.name = "m-00002-of-00002.moeq"}};

struct shard_facts {
    size_t size;
    uint32_t crc;
};

static void put_index(struct fuzz_part text, const struct shard_facts *facts)
{
    struct mq_buffer out = {0};
    size_t crcs = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *at = (const char *)text.data + i;
        if (text.size - i >= 2 && at[0] == '@' && (at[1] == '1' || at[1] == '2')) {
            mq_buffer_printf(&out, "%zu", facts[at[1] - '1'].size);
            i++;
        } else if (text.size - i >= 8 && memcmp(at, "########", 8) == 0 && crcs < SHARDS) {
            mq_buffer_printf(&out, "%08x", facts[crcs++].crc);
            i += 7;
        } else {
            mq_buffer_putc(&out, *at);
        }
    }
    fuzz_expect(mq_buffer_ok(&out));
    fuzz_put_entry(&index_file, out.data ? out.data : "", out.size);
    mq_buffer_free(&out);
}

static void check_tensor(const struct mq_view *view, const struct mq_tensor *t)
{
    const struct mq_level *level;
    moeq_error err = {0};
    fuzz_expect(mq_tensor_level(view, t, &level, &err) == MOEQ_OK);
    fuzz_read_rows(view, t, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_part parts[PARTS];
    struct shard_facts facts[SHARDS];
    struct mq_view *view;
    char path[128];
    moeq_error err = {0};
    fuzz_parts(data, size, parts, PARTS);
    const bool mended = parts[FLAGS].size && (parts[FLAGS].data[0] & 1);
    for (size_t i = 0; i < SHARDS; i++) {
        const struct fuzz_part *p = &parts[HEADERS + 2 * i];
        uint8_t *bytes = fuzz_safetensors(p[0], p[1], mended, &facts[i].size, &facts[i].crc);
        fuzz_put_entry(&shards[i], bytes, facts[i].size);
        free(bytes);
    }
    put_index(parts[INDEX], facts);
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), index_file.name);
    const moeq_status status = mq_model_open(path, &view, &err);
    if (status == MOEQ_OK) {
        for (size_t i = 0; i < view->tensors_count; i++)
            check_tensor(view, &view->tensors[i]);
        mq_view_close(view);
    } else {
        fuzz_refused(status, &err, fuzz_folder());
    }
    return 0;
}
