package statcache

// Compare orders paths as a walk meets them: siblings by the bytes of their
// names, and a directory after everything below it, because only then is it
// known as a whole. Paths are slash-separated, without a slash at either end;
// the empty path is the root, which comes last. The result is negative, zero
// or positive.
func Compare(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	switch {
	case i == len(a) && i == len(b):
		return 0
	case i == len(a):
		return comparePrefix(a, b)
	case i == len(b):
		return -comparePrefix(b, a)
	case a[i] == '/': // a's name ends here: it is the shorter of two siblings
		return -1
	case b[i] == '/':
		return 1
	}
	return int(a[i]) - int(b[i])
}

// comparePrefix compares a with a longer path b that begins with all of a's
// bytes: either b lies below a, or a's last name is the shorter of two.
func comparePrefix(a, b []byte) int {
	if len(a) == 0 || b[len(a)] == '/' {
		return 1
	}
	return -1
}
