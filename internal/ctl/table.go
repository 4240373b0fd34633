package ctl

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// column is one column of a table; wide columns show only with -o wide, rare ones only when a cell has something to say.
type column[T any] struct {
	title      string
	wide, rare bool
	cell       func(T) string
}

func writeTable[T any](w io.Writer, columns []column[T], items []T, wide bool) error {
	columns = slices.DeleteFunc(columns, func(c column[T]) bool {
		return c.wide && !wide || c.rare && !slices.ContainsFunc(items, func(item T) bool { return c.cell(item) != "" })
	})
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	line := func(cell func(column[T]) string) {
		var cells []string
		for _, c := range columns {
			cells = append(cells, cell(c))
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	line(func(c column[T]) string { return c.title })
	for _, item := range items {
		line(func(c column[T]) string { return orDash(printable(c.cell(item))) })
	}
	return tw.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printable escapes what could move the cursor or break a line: messages and identities come from peers.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// clock is the moment of the question; ages are counted from it.
type clock time.Time

// age is how long ago t was, in at most two units: "3m12s", "4d2h"; empty for a time that is not set.
func (c clock) age(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return formatAge(time.Time(c).Sub(t.AsTime()))
}

func formatAge(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0).Truncate(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}

// since is a time with its age: "2026-11-22T18:00:00Z (3m12s)".
func (c clock) since(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", formatTime(t), c.age(t))
}

// formatBytes is a size in binary units: "512 B", "1.5 MiB".
func formatBytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n), "KMGTPE"
	i := -1
	for value >= 1024 && i < len(units)-1 {
		value /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, units[i])
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
