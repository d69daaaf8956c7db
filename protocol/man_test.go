package protocol

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/packnback/packnback/repo/object"
)

// TestManual compares the tables of packnback-protocol(7) with the code: every
// type, its name and limit, the limits of lists, and every error code.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../man/packnback-protocol.7")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Type]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\.It (0x[0-9a-f]{2}) Ta (\w+) Ta ([0-9,]+)`).FindAllStringSubmatch(string(page), -1) {
		n, err := strconv.ParseUint(m[1], 0, 8)
		if err != nil {
			t.Fatal(err)
		}
		ty := Type(n)
		limit, ok := ty.Limit()
		if want := strconv.Itoa(limit); !ok || m[2] != ty.String() || strings.ReplaceAll(m[3], ",", "") != want {
			t.Errorf("the manual has type %s %s with limit %s; the code %s with %s", m[1], m[2], m[3], ty, want)
		}
		seen[ty] = true
	}
	for ty := range limits {
		if !seen[ty] {
			t.Errorf("the manual lacks type %#02x %s", uint8(ty), ty)
		}
	}
	for _, limit := range []string{
		fmt.Sprintf("no more than %s, the latter, which are kept for ever, no more than %s,", thousands(MaxListed), thousands(MaxListedLinks)),
		fmt.Sprintf("no more than %s events of together %s bytes", thousands(MaxListed), thousands(MaxListedBytes)),
	} {
		if !strings.Contains(string(page), limit) {
			t.Errorf("the manual does not say %q", limit)
		}
	}
	for c := object.CodeInternal; c <= object.CodeInterrupted; c++ {
		if !strings.Contains(string(page), fmt.Sprintf("\n.It %d Ta ", c)) {
			t.Errorf("the manual lacks error code %d", c)
		}
	}
}

// thousands writes n as the manual does.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
