package crypto

import "math/bits"

// Padme returns the length that n bytes are padded to: n rounded up to a
// number whose binary mantissa is no longer than its exponent, as defined in
// "Reducing Metadata Leakage from Encrypted Files and Communication with
// PURBs" (Nikitin et al., PoPETs 2019), algorithm 1. The result is at most 12 %
// above n, and all lengths below 2^k share O(log k) values. n must not be
// negative.
func Padme(n int) int {
	if n < 2 {
		return n
	}
	exponent := bits.Len(uint(n)) - 1
	mantissa := bits.Len(uint(exponent)) // bits that may tell lengths apart
	mask := 1<<(exponent-mantissa) - 1
	return (n + mask) &^ mask
}
