/* this_machine.h: the cards of a machine, as its programs and files name them (--gpu auto). */
#ifndef MQ_THIS_MACHINE_H
#define MQ_THIS_MACHINE_H

#include "fit.h"

/*
 * Adds the cards that `nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits` lists, a
 * line each: "NVIDIA GeForce RTX 3090, 24576". What is usable is the less of what the table says and the
 * driver reports. Returns how many.
 */
uint32_t mq_machine_add_nvidia(const char *text, struct mq_fit_target *target);

/*
 * Adds the cards of the driver amdgpu: folder/card0/device/mem_info_vram_total, bytes, and beside it, of
 * some, product_name. Less than 2 GiB is a processor's own graphics, and left out. folder:
 * "/sys/class/drm". Returns how many.
 */
uint32_t mq_machine_add_amd(const char *folder, struct mq_fit_target *target);

#endif
