package ui

import (
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Size returns n bytes for people, in powers of 1024: "79 MiB".
func Size(n uint64) string { return humanize.IBytes(n) }

// Count returns n with separators between thousands: "78,579".
func Count(n uint64) string {
	return humanize.Comma(int64(min(n, 1<<63-1)))
}

// Number returns a count with its noun: "1 file", "78,579 files".
func Number(n uint64, one, many string) string {
	if n == 1 {
		many = one
	}
	return Count(n) + " " + many
}

// Time returns t for people, in t's own zone, to the second.
func Time(t time.Time) string { return t.Format("2006-01-02 15:04:05") }

// Elapsed returns d for people: "1h02m03s", below a minute with two digits
// after the point.
func Elapsed(d time.Duration) string {
	if d < time.Minute {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Table lines up columns. Its zero value is not usable; NewTable makes one.
// It holds all its rows, so it is for lists that a person reads.
type Table struct {
	head  []string
	right []bool
	rows  [][]string
}

// NewTable returns a table with these column heads. A head that starts with
// '>' (which is not shown) makes its column right-aligned.
func NewTable(heads ...string) *Table {
	t := &Table{right: make([]bool, len(heads))}
	for i, h := range heads {
		h, t.right[i] = strings.CutPrefix(h, ">")
		t.head = append(t.head, h)
	}
	return t
}

// Row adds a row; missing cells are empty. Cells go through Quote.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(t.head))
	for i := range row {
		if i < len(cells) {
			row[i] = Quote(cells[i])
		}
	}
	t.rows = append(t.rows, row)
}

// Len returns the number of rows.
func (t *Table) Len() int { return len(t.rows) }

// WriteTo writes heads, a rule and rows to w.
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	total := 2 * max(len(widths)-1, 0)
	for _, n := range widths {
		total += n
	}
	var b strings.Builder
	t.line(&b, widths, t.head)
	b.WriteString(strings.Repeat("-", total) + "\n")
	for _, row := range t.rows {
		t.line(&b, widths, row)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func (t *Table) line(b *strings.Builder, widths []int, cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString("  ")
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if t.right[i] {
			line.WriteString(pad + cell)
		} else {
			line.WriteString(cell + pad)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}
