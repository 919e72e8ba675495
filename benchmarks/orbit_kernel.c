/* The statistics of the cubic map in C: orbit and Lyapunov exponent of many parameter values, one thread.

   In the coordinate x with z = x^2 - a the map reads x -> x t with t = r - x^2, r = 1 + a, and its derivative is
   3 t - 2 r: with the product of derivatives, two fused multiply-adds and two multiplications an iteration. LANES orbits
   run side by side in a block that stays in the first-level cache; the compiler turns the loops over k into vectors.

   Default:   one logarithm for the product of UNROLL = 8 derivatives.
   -DBITS:    exponent and mantissa of that product are split by bit operations, one logarithm for 128 iterations.
   -DTHREE=c: another number in place of 3 in the derivative; only to plant a fault that the check must find. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef LANES
#define LANES 64
#endif
#ifndef THREE
#define THREE 3.0
#endif
#define UNROLL 8
#define BODIES 16 /* a block, over which the standard error is taken, is UNROLL * BODIES = 128 iterations */

/* UNROLL iterations of one lane; returns the product of the derivatives. */
static inline double body(double r, double *x) {
  double y = *x, product = 1, r2 = 2 * r;
#pragma GCC unroll 8
  for (int u = 0; u < UNROLL; u++) {
    double t = r - y * y;
    product *= THREE * t - r2;
    y *= t;
  }
  *x = y;
  return product;
}

#ifdef BITS
static void block(const double *restrict r, double *restrict x, double *restrict growth) {
  double mantissa[LANES];
  int64_t exponent[LANES];
  for (int k = 0; k < LANES; k++) mantissa[k] = 1, exponent[k] = 0;
  for (int j = 0; j < BODIES; j++)
    for (int k = 0; k < LANES; k++) {
      double product = body(r[k], &x[k]), m;
      int64_t raw;
      memcpy(&raw, &product, 8);
      exponent[k] += (raw >> 52) & 0x7FF;
      raw = (raw & ((INT64_C(1) << 52) - 1)) | (INT64_C(1023) << 52);
      memcpy(&m, &raw, 8);
      mantissa[k] *= m;
    }
  for (int k = 0; k < LANES; k++)
    growth[k] = log(mantissa[k]) + 0.69314718055994530942 * (double)(exponent[k] - 1023 * BODIES);
}
#else
static void block(const double *restrict r, double *restrict x, double *restrict growth) {
  double product[LANES];
  for (int k = 0; k < LANES; k++) growth[k] = 0;
  for (int j = 0; j < BODIES; j++) {
    for (int k = 0; k < LANES; k++) product[k] = body(r[k], &x[k]);
    /* Clamped, so that zero and infinity (orbits that left) do not take the slow path of the vector logarithm. */
    for (int k = 0; k < LANES; k++) {
      double g = fabs(product[k]);
      g = g > 1e-300 ? g : 1e-300;
      g = g < 1e300 ? g : 1e300;
      growth[k] += log(g);
    }
  }
}
#endif

/* n orbits (a multiple of LANES) from x, which is overwritten with their ends: half blocks of 128 iterations to settle,
   then as many over which the growth of a tangent vector is summed (total) with its square per block (square). */
void orbit(size_t n, long half, const double *a, double *x, double *total, double *square) {
  double y[LANES], r[LANES], growth[LANES], sum[LANES], sum2[LANES];
  for (size_t i = 0; i < n; i += LANES) {
    for (int k = 0; k < LANES; k++) y[k] = x[i + k], r[k] = 1 + a[i + k];
    for (int leg = 0; leg < 2; leg++) {
      for (int k = 0; k < LANES; k++) sum[k] = sum2[k] = 0;
      for (long b = 0; b < half; b++) {
        block(r, y, growth);
        for (int k = 0; k < LANES; k++) sum[k] += growth[k], sum2[k] += growth[k] * growth[k];
      }
    }
    for (int k = 0; k < LANES; k++) x[i + k] = y[k], total[i + k] = sum[k], square[i + k] = sum2[k];
  }
}

/* Fused multiply-adds: n rounds of 12 independent chains, as many as hide the latency on two units and still fit
   sixteen registers. Returns the number of doubles in a vector; the sum of the chains goes to *sink. */
#if defined(__AVX512F__)
#define WIDTH 8
#elif defined(__AVX__)
#define WIDTH 4
#else
#define WIDTH 2
#endif
#define CHAINS 12
typedef double vector __attribute__((vector_size(8 * WIDTH)));

int peak(long n, double *sink) {
  vector c, d, y[CHAINS];
  for (int k = 0; k < WIDTH; k++) c[k] = 1 - 1e-9, d[k] = 1e-9;
  for (int i = 0; i < CHAINS; i++) y[i] = d * (double)i;
  for (long j = 0; j < n; j++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) y[i] = y[i] * c + d;
  }
  vector s = d;
  for (int i = 0; i < CHAINS; i++) s += y[i];
  *sink = s[0];
  return WIDTH;
}
