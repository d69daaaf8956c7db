package tree

import (
	"fmt"
	"strings"
)

const maxNsec = 999_999_999

// CheckName reports whether s may be the name of an entry.
func CheckName(s string) error {
	if len(s) > MaxName {
		return &LimitError{What: "name", Size: len(s), Limit: MaxName}
	}
	if s == "" || s == "." || s == ".." || strings.IndexByte(s, '/') >= 0 || strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("%.80q can't be a name", s)
	}
	return nil
}

// check applies the format's rules to all of e but its place among others.
// What is too large gives a LimitError, what contradicts itself another error.
func (e *Entry) check() error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if !e.Type.Valid() {
		return fmt.Errorf("unknown %s", e.Type)
	}
	if err := e.checkOwner(); err != nil {
		return err
	}
	if e.Mtime.Nsec > maxNsec || e.Atime.Nsec > maxNsec || !e.HasAtime && e.Atime != (Time{}) {
		return fmt.Errorf("times %v and %v make no sense", e.Mtime, e.Atime)
	}
	if e.LinkID != 0 && e.Type == TypeDir {
		return fmt.Errorf("directory with a link id")
	}
	if err := checkXattrs(e.Xattrs); err != nil {
		return err
	}
	return e.checkContents()
}

func (e *Entry) checkOwner() error {
	if e.Mode&^ModeMask != 0 {
		return fmt.Errorf("mode %#o", e.Mode)
	}
	if n := max(len(e.User), len(e.Group)); n > MaxUserName {
		return &LimitError{What: "user or group name", Size: n, Limit: MaxUserName}
	}
	return nil
}

// checkContents checks that e has what its type has, and nothing else.
func (e *Entry) checkContents() error {
	if e.Type != TypeFile && len(e.Extents) > 0 || (e.Type == TypeDir) == e.Subtree.IsZero() ||
		(e.Type == TypeSymlink) == (e.Target == "") || e.Type != TypeChar && e.Type != TypeBlock && e.Rdev != 0 {
		return fmt.Errorf("a %s does not go with its contents", e.Type)
	}
	var size uint64
	switch e.Type {
	case TypeFile:
		if len(e.Extents) > MaxExtents {
			return &LimitError{What: "number of extents", Size: len(e.Extents), Limit: MaxExtents}
		}
		for i := range e.Extents {
			if err := e.Extents[i].check(true); err != nil {
				return err
			}
			if size += e.Extents[i].Length; size > maxFileSize {
				return fmt.Errorf("size %d", size)
			}
		}
	case TypeSymlink:
		if len(e.Target) > MaxTarget {
			return &LimitError{What: "symlink target", Size: len(e.Target), Limit: MaxTarget}
		}
		if strings.IndexByte(e.Target, 0) >= 0 {
			return fmt.Errorf("symlink target %.80q", e.Target)
		}
		size = uint64(len(e.Target))
	}
	if e.Size != size {
		return fmt.Errorf("size %d, its contents have %d", e.Size, size)
	}
	return nil
}

func checkXattrs(xs []Xattr) error {
	if len(xs) > MaxXattrs {
		return &LimitError{What: "number of extended attributes", Size: len(xs), Limit: MaxXattrs}
	}
	total := 0
	for i := range xs {
		switch {
		case len(xs[i].Name) > MaxXattrName:
			return &LimitError{What: "extended attribute name", Size: len(xs[i].Name), Limit: MaxXattrName}
		case len(xs[i].Value) > MaxXattrValue:
			return &LimitError{What: "extended attribute value", Size: len(xs[i].Value), Limit: MaxXattrValue}
		case xs[i].Name == "" || strings.IndexByte(xs[i].Name, 0) >= 0 || i > 0 && xs[i].Name <= xs[i-1].Name:
			return fmt.Errorf("extended attribute %.80q has a bad name or is out of order", xs[i].Name)
		}
		total += len(xs[i].Name) + len(xs[i].Value)
	}
	if total > MaxXattrBytes {
		return &LimitError{What: "extended attributes' total length", Size: total, Limit: MaxXattrBytes}
	}
	return nil
}

// FitXattrs returns those of xs, which ascend by name, that one entry may
// have, and where others are left out a LimitError about the first of them.
// The result shares memory with xs.
func FitXattrs(xs []Xattr) ([]Xattr, error) {
	if err := checkXattrs(xs); err == nil {
		return xs, nil
	}
	var first error
	fit, total := xs[:0:0], 0
	for _, x := range xs {
		err := checkXattrs([]Xattr{x})
		size := len(x.Name) + len(x.Value)
		switch {
		case err != nil:
		case len(fit) == MaxXattrs:
			err = &LimitError{What: "number of extended attributes", Size: len(xs), Limit: MaxXattrs}
		case total+size > MaxXattrBytes:
			err = &LimitError{What: "extended attributes' total length", Size: total + size, Limit: MaxXattrBytes}
		default:
			total += size
			fit = append(fit, x)
		}
		if first == nil {
			first = err
		}
	}
	return fit, first
}
