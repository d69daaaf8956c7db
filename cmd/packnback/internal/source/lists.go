package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxLine is the greatest length of a line or path in a file of patterns or
// paths.
const maxLine = 1 << 20

// ReadPatterns reads the lines of an exclude file: one pattern each, blank
// lines and those that begin with # left out, $NAME and ${NAME} replaced by
// what lookup returns, $$ by $.
func ReadPatterns(r io.Reader, lookup func(string) string) ([]string, error) {
	list, err := readLines(r, true)
	for i := range list {
		list[i] = os.Expand(list[i], func(name string) string {
			if name == "$" {
				return "$"
			}
			return lookup(name)
		})
	}
	return list, err
}

// ReadGlobs reads --files-from: one pattern of filepath.Glob a line, blank
// lines and those that begin with # left out, each expanded against the file
// system. A pattern that nothing matches is returned as it is, so that the
// walk reports it as an operand that is not there.
func ReadGlobs(r io.Reader) ([]string, error) {
	lines, err := readLines(r, true)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, line := range lines {
		found, err := filepath.Glob(line)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", line, err)
		}
		if len(found) == 0 {
			found = []string{line}
		}
		list = append(list, found...)
	}
	return list, nil
}

// ReadVerbatim reads --files-from-verbatim: one path a line, taken as it is;
// empty lines are left out.
func ReadVerbatim(r io.Reader) ([]string, error) { return readLines(r, false) }

// readLines returns the lines that are not empty; with comments it trims space
// and leaves out those that begin with #.
func readLines(r io.Reader, comments bool) ([]string, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	var list []string
	for first := true; sc.Scan(); first = false {
		line := sc.Text()
		if first && comments {
			line = strings.TrimPrefix(line, "\uFEFF") // editors on other systems put it there
		}
		if comments {
			line = strings.TrimSpace(line)
		}
		if line != "" && !(comments && line[0] == '#') {
			list = append(list, line)
		}
	}
	return list, sc.Err()
}

// ReadRaw reads --files-from-raw: paths that each end with a NUL.
func ReadRaw(r io.Reader) ([]string, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxLine)
	sc.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		if atEOF && len(data) > 0 {
			return 0, nil, errors.New("the last path does not end with a NUL")
		}
		return 0, nil, nil
	})
	var list []string
	for sc.Scan() {
		if sc.Text() == "" {
			return nil, errors.New("empty path in a list")
		}
		list = append(list, sc.Text())
	}
	return list, sc.Err()
}
