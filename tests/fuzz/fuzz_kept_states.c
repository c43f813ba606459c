/*
 * fuzz_kept_states.c: the states that an interrupted calibrated conversion has left (OUT.part.states). The first byte:
 * bit 0: its sums are made right.
 *
 * Beyond "no crash": what is accepted is of the plan and the size that were asked for and is loaded whole; a file that
 * may be written over begins as these do; a failure names the file.
 */
#include "fuzz_support.h"

#include "kept_states.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { IDENTITY = 0x1234, STATES = 32, HEADER = 104, SUM_AT = 80 };

static void store(uint8_t *at, uint64_t x)
{
    memcpy(at, &x, sizeof x);
}

static void mend(uint8_t *bytes, size_t size)
{
    if (size < HEADER)
        return;
    store(bytes + SUM_AT, crc32_z(0, bytes + HEADER, size - HEADER));
    store(bytes + HEADER - 8, crc32_z(0, bytes, HEADER - 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_file file;
    struct mq_kept_states kept = {.identity = IDENTITY, .point = {.bytes = STATES}}, again = kept;
    uint8_t states[STATES], *bytes = malloc(size + 1);
    moeq_error err = {0};
    if (!bytes || !size) {
        free(bytes);
        return 0;
    }
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & 1)
        mend(bytes, size - 1);
    const char *path = fuzz_put(&file, bytes, size - 1);
    const bool ours = mq_kept_states_may_write(path);
    moeq_status status = mq_kept_states_read(path, &kept, &err);
    if (status == MOEQ_OK) {
        fuzz_expect(ours && kept.point.bytes == STATES && kept.identity == IDENTITY);
        fuzz_expect(mq_kept_states_read(path, &again, &err) == MOEQ_OK &&
                    memcmp(&again, &kept, sizeof kept) == 0);
        status = mq_kept_states_load(path, states, &err);
        if (status == MOEQ_OK)
            fuzz_expect(memcmp(states, bytes + HEADER, STATES) == 0);
    }
    if (status != MOEQ_OK)
        fuzz_refused(status, &err, path);
    free(bytes);
    return 0;
}
