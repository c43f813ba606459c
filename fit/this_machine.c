/* this_machine.c: cards by what nvidia-smi prints and amdgpu's files hold. */
#include "this_machine.h"

#include "checked.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 128 };

/* A card of the table, its size by the memory that was found where the name leaves it open; else so much
 * memory of an unknown one. bytes 0: not known. */
static bool add_card(const char *name, uint64_t bytes, struct mq_fit_target *target)
{
    struct mq_gpu_search s;
    char sized[NAME_ROOM + 16];
    const unsigned gb = (unsigned)((bytes + (UINT64_C(1) << 29)) >> 30);
    bool found = mq_gpu_search(name, &s);
    if (!found && bytes) {
        snprintf(sized, sizeof sized, "%s %uGB", name, gb);
        found = mq_gpu_search(sized, &s);
    }
    const uint32_t at = target->cards;
    if (found && mq_fit_target_add(target, s.gpu, (uint64_t)s.memory_gb << 30, 1)) {
        struct mq_fit_card *card = &target->card[at];
        if (bytes)
            card->usable_bytes = mq_min_u64(card->usable_bytes, bytes);
        return true;
    }
    return bytes &&
           mq_fit_target_add_bytes(target, mq_gpu_usable_bytes(MQ_GPU_DEDICATED, bytes), 1);
}

uint32_t mq_machine_add_nvidia(const char *text, struct mq_fit_target *target)
{
    uint32_t count = 0;
    while (*text) {
        const size_t n = strcspn(text, "\r\n"), comma = strcspn(text, ",\r\n");
        char name[NAME_ROOM] = "";
        uint64_t mib = 0;
        if (comma < n) {
            snprintf(name, sizeof name, "%.*s", (int)mq_min_u64(comma, NAME_ROOM - 1), text);
            mib = strtoull(text + comma + 1, NULL, 10); /* "[N/A]" of unified memory: 0 */
        }
        if (name[0] && mib < UINT64_C(1) << 30)
            count += add_card(name, mib << 20, target);
        text += n;
        text += strspn(text, "\r\n");
    }
    return count;
}

/* The first line of a small file; false if there is none. */
static bool first_line(const char *folder, int card, const char *name, char line[NAME_ROOM])
{
    char path[512];
    snprintf(path, sizeof path, "%s/card%d/device/%s", folder, card, name);
    FILE *f = fopen(path, "r");
    const bool good = f && fgets(line, NAME_ROOM, f);
    if (f)
        fclose(f);
    if (good)
        line[strcspn(line, "\r\n")] = '\0';
    return good;
}

uint32_t mq_machine_add_amd(const char *folder, struct mq_fit_target *target)
{
    uint32_t count = 0;
    for (int i = 0; i < MQ_GPU_MAX_CARDS; i++) {
        char line[NAME_ROOM], name[NAME_ROOM] = "";
        if (!first_line(folder, i, "mem_info_vram_total", line))
            continue;
        const uint64_t bytes = strtoull(line, NULL, 10);
        if (bytes < UINT64_C(2) << 30 || bytes >> 50)
            continue;
        if (!first_line(folder, i, "product_name", name))
            name[0] = '\0';
        count += add_card(name, bytes, target);
    }
    return count;
}
