/* gpu_auto.c: asks this machine for its cards. */
#include "gpu_auto.h"

#include "error.h"
#include "this_machine.h"

#include <stdio.h>
#include <sys/wait.h>

/* What nvidia-smi prints; empty where it is not there or fails. */
static void ask_nvidia(char *text, size_t room)
{
    text[0] = '\0';
    // NOLINTNEXTLINE(cert-env33-c): a constant; found by PATH, as a user would
    FILE *f = popen("nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits "
                    "2>/dev/null",
                    "r");
    if (!f)
        return;
    const size_t n = fread(text, 1, room - 1, f);
    text[n] = '\0';
    while (fgetc(f) != EOF) /* more cards than are ever taken */
        ;
    const int status = pclose(f);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        text[0] = '\0';
}

moeq_status mq_gpu_auto(const char *dash, struct mq_fit_target *target, moeq_error *err)
{
    char text[8192];
    ask_nvidia(text, sizeof text);
    if (mq_machine_add_nvidia(text, target) + mq_machine_add_amd("/sys/class/drm", target) == 0)
        return mq_fail(err, MOEQ_NOT_FOUND,
                       "%sgpu auto: nvidia-smi lists no card, and no /sys/class/drm/card*/device/"
                       "mem_info_vram_total is there (AMD): name the card (%s), or give %svram "
                       "SIZE",
                       dash, *dash ? "--list-gpus" : "moeq fit --list-gpus", dash);
    return !target->unified || target->cards == 1
               ? MOEQ_OK
               : mq_fail(err, MOEQ_INVALID_ARGUMENT,
                         "%sgpu auto: a machine of unified memory beside other cards: name one "
                         "with %sgpu",
                         dash, dash);
}
