// All encoders, for whatever instruction set the including file is compiled for.
#include "../../kernels/blocks.h"
#include "../../kernels/half.h"
#include "../encode.h"
#include "../feedback.h"
#include "../grids.h"

#if defined(__GNUC__) && !defined(__clang__)
// Vectors wider than the registers are passed in memory; nothing outside this object sees them.
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#include "lanes.inl"
#include "search.inl"
#include "blocks_k.inl"
#include "blocks_32.inl"
#include "blocks_few.inl"
#include "blocks_grid.inl"
#include "blocks_iq1.inl"
#include "encode_rows.inl"
#include "take_over.inl"
#include "feedback.inl"
#include "feedback_forms.inl"
#include "feedback_grid.inl"
#include "moments.inl"
#include "fill.inl"
