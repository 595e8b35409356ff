/* SPDX-License-Identifier: MIT */
/*
 * Shared by the two halves of the codec: what binds a sealed segment to its place.
 */
#ifndef C2_DEPSKY_CODEC_SEGMENT_H
#define C2_DEPSKY_CODEC_SEGMENT_H

#include "depsky/share.h"

#define DS_AAD_LEN (DS_OID_LEN + 8)

void ds_segment_nonce(uint32_t seg, bool last, uint8_t nonce[C2_GCM_NONCE_LEN]);
void ds_segment_aad(const struct ds_oid *oid, uint32_t seg, uint32_t plain,
                    uint8_t aad[DS_AAD_LEN]);

#endif
