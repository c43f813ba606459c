/* fit_option.c: --gpu, --vram, --bandwidth, --runtime and --kv. */
#include "fit_option.h"

struct mq_fit_request mq_option_fit_request(const struct mq_options *options)
{
    return (struct mq_fit_request){.gpu = options->gpu,
                                   .vram = options->vram,
                                   .ram = options->ram,
                                   .bandwidth = options->bandwidth,
                                   .runtime = options->runtime,
                                   .kv = options->kv,
                                   .no_flash_attention = options->no_flash_attention,
                                   .dash = "--"};
}

bool mq_option_fit_target(const char *command, const struct mq_options *options,
                          struct mq_fit_target *target, const struct mq_kv_kind **kv)
{
    const struct mq_fit_request request = mq_option_fit_request(options);
    moeq_error err = {0};
    if (mq_fit_request_read(&request, target, kv, &err) == MOEQ_OK)
        return true;
    mq_usage(command, "%s", err.message);
    return false;
}
