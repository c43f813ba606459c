/* gpu_auto.c: asks this machine for its cards. */
#include "gpu_auto.h"

#include "this_machine.h"

#include <stdio.h>
#include <sys/wait.h>

/* What nvidia-smi prints; empty where it is not there or fails. */
static void ask_nvidia(char *text, size_t room)
{
    text[0] = '\0';
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

bool mq_gpu_auto(const char *command, struct mq_fit_target *target)
{
    char text[8192];
    ask_nvidia(text, sizeof text);
    if (mq_machine_add_nvidia(text, target) + mq_machine_add_amd("/sys/class/drm", target) == 0) {
        mq_usage(command,
                 "--gpu auto: nvidia-smi lists no card, and no /sys/class/drm/card*/device/"
                 "mem_info_vram_total is there (AMD): name the card (--list-gpus), or give --vram "
                 "SIZE");
        return false;
    }
    if (!target->unified || target->cards == 1)
        return true;
    mq_usage(command,
             "--gpu auto: a machine of unified memory beside other cards: name one with --gpu");
    return false;
}
