package view

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/packnback/packnback/repo/object"
)

const drillsHeader = "packnback drills v1"

// ErrDrills is wrapped by the errors of ParseDrills.
var ErrDrills = errors.New("malformed record of drills")

// Drilled is what this machine remembers of the last drill of a chain.
type Drilled struct {
	Repository  object.RepositoryID
	Client, Job string
	Snapshot    object.ID
	Time        int64  // by this machine's clock, nanoseconds since 1970
	Files       uint64 // in the snapshot
	Read, Bytes uint64 // files that were read, at most Files, and what they have
	Lost        uint64 // files and folders that could not have been restored
}

// Drills is the content of the file drills. Not safe for concurrent use.
type Drills []Drilled

func (d *Drilled) sameChain(e *Drilled) bool {
	return d.Repository == e.Repository && d.Client == e.Client && d.Job == e.Job
}

// Find returns the last drill of a chain, and whether there was one.
func (all Drills) Find(repo object.RepositoryID, client, job string) (Drilled, bool) {
	of := Drilled{Repository: repo, Client: client, Job: job}
	i := slices.IndexFunc(all, func(d Drilled) bool { return d.sameChain(&of) })
	if i < 0 {
		return Drilled{}, false
	}
	return all[i], true
}

// Set records a drill in the place of the one before.
func (all Drills) Set(d Drilled) Drills {
	i := slices.IndexFunc(all, func(e Drilled) bool { return e.sameChain(&d) })
	if i < 0 {
		return append(all, d)
	}
	all[i] = d
	return all
}

// Append appends the text of the file, sorted. ParseDrills is its inverse.
func (all Drills) Append(dst []byte) []byte {
	lines := make([]string, 0, len(all))
	for _, d := range all {
		lines = append(lines, fmt.Sprintf("drill %s %s %s %s %d %d %d %d %d\n", d.Repository, d.Client, d.Job, d.Snapshot, d.Time, d.Files, d.Read, d.Bytes, d.Lost))
	}
	slices.Sort(lines)
	dst = append(dst, drillsHeader+"\n"...)
	for _, l := range lines {
		dst = append(dst, l...)
	}
	return dst
}

// ParseDrills reads the file drills, which has the limits of known_clients.
// Empty lines and lines that begin with # are skipped; everything else it does
// not know is refused.
func ParseDrills(text []byte) (Drills, error) {
	if len(text) > maxKnownFile {
		return nil, fmt.Errorf("%w: %d bytes, limit is %d", ErrDrills, len(text), maxKnownFile)
	}
	sc := bufio.NewScanner(bytes.NewReader(text))
	sc.Buffer(make([]byte, maxKnownLine), maxKnownLine)
	if !sc.Scan() || sc.Text() != drillsHeader {
		return nil, fmt.Errorf("%w: does not begin with the line %q", ErrDrills, drillsHeader)
	}
	type chain struct {
		repo        object.RepositoryID
		client, job string
	}
	var all Drills
	seen := map[chain]bool{}
	n := 1
	for sc.Scan() {
		if n++; n > maxKnownLines {
			return nil, fmt.Errorf("%w: more than %d lines", ErrDrills, maxKnownLines)
		}
		line := sc.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		d, err := parseDrilled(strings.Split(line, " "))
		if c := (chain{d.Repository, d.Client, d.Job}); err == nil && seen[c] {
			err = fmt.Errorf("%s/%s appears twice", d.Client, d.Job)
		} else {
			seen[c] = true
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrDrills, n, err)
		}
		all = append(all, d)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%w: line %d: %w", ErrDrills, n+1, err)
	}
	return all, nil
}

func parseDrilled(f []string) (Drilled, error) {
	if f[0] != "drill" || len(f) != 10 {
		return Drilled{}, fmt.Errorf("begins with %q and has %d words", f[0], len(f))
	}
	d := Drilled{Client: f[2], Job: f[3]}
	var at uint64
	errs := []error{
		parseHex(d.Repository[:], "repository id", f[1]), object.CheckName("client", d.Client), object.CheckName("job", d.Job),
		parseHex(d.Snapshot[:], "snapshot id", f[4]),
	}
	for i, to := range []*uint64{&at, &d.Files, &d.Read, &d.Bytes, &d.Lost} {
		errs = append(errs, parseNumber(to, f[5+i]))
	}
	if d.Time = int64(at); at > math.MaxInt64 {
		errs = append(errs, fmt.Errorf("%d is no time", at))
	}
	if d.Read > d.Files {
		errs = append(errs, fmt.Errorf("%d of %d files read", d.Read, d.Files))
	}
	for _, err := range errs {
		if err != nil {
			return Drilled{}, err
		}
	}
	return d, nil
}

// parseNumber reads a decimal number without leading zeros.
func parseNumber(to *uint64, s string) error {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return fmt.Errorf("%q is not a number", s)
	}
	*to = n
	return nil
}

// LoadDrills reads the file drills at path. A file that is not there is an
// empty one.
func LoadDrills(path string) (Drills, error) { return load(path, ParseDrills) }

// UpdateDrills reads the file drills at path, lets change alter it, and
// replaces it as a whole (0600), under a lock that other processes respect.
func UpdateDrills(path string, change func(Drills) Drills) error {
	return update(path, func(b []byte) ([]byte, error) {
		all, err := parsed(path, b, ParseDrills)
		if err != nil {
			return nil, err
		}
		return change(all).Append(nil), nil
	})
}
