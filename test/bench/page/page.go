package page

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bordergw/bordergw/test/bench/record"
)

// Draw writes the page and its plots; results is the folder of the rows, and of the plots and notes: NAME.md has what is to be said of a row.
func Draw(page, results string) error {
	folder, err := filepath.Rel(filepath.Dir(page), results)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(head)
	for i, d := range Descriptions() {
		row, err := record.Load(results, d.Name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n## %d. %s\n\n`make bench BENCH=%s` · A: %s · B: %s\n\n**Goal**: %s.\n\n%s\n\n", i+1, d.Title, d.Name, d.A, d.B, d.Goal, d.How)
		if len(row.Series) == 0 {
			b.WriteString("**Not measured.**\n")
		} else {
			table(&b, row.Series)
		}
		for _, p := range plots(row) {
			name := d.Name + "-" + slug(p.quantity) + ".svg"
			if err := os.WriteFile(filepath.Join(results, name), []byte(p.svg()), 0o644); err != nil {
				return err
			}
			fmt.Fprintf(&b, "\n![%s](%s)\n", p.quantity, filepath.ToSlash(filepath.Join(folder, name)))
		}
		notes, err := os.ReadFile(filepath.Join(results, d.Name+".md"))
		if err == nil {
			fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(string(notes)))
		} else if !os.IsNotExist(err) {
			return err
		}
	}
	return os.WriteFile(page, []byte(b.String()), 0o644)
}

const head = `<!-- Made by make bench from docs/performance/*.json and *.md. Do not edit. -->

# Performance

bordergw beside what users would pick instead. The peer runs in the same lab, in the same run, and the two take turns; figures are the least, the middle and
the greatest of all turns, ratios are of the two values of one turn. Machines are noisy and the lab's guest may be emulated: trust ratios and counts before times.
The raw values are in ` + "`docs/performance`" + `, one file a row; a row that is measured again replaces its own only.
`

// table is what was measured, a line a series, with where it was measured below.
func table(b *strings.Builder, all []record.Series) {
	b.WriteString("| what | size | bordergw | peer | ratio | goal |\n|---|---|---|---|---|---|\n")
	var machines []string
	for _, s := range all {
		peer, ratio := "–", "–"
		if s.Peer != "" {
			peer = s.Peer + ": " + three(s.B, s.Unit)
			if r := s.Ratios(); len(r) > 0 {
				ratio = three(r, "")
			}
		}
		fmt.Fprintf(b, "| %s | %s %s | %s | %s | %s | %s |\n", s.Quantity, count(s.Size), s.Things, three(s.A, s.Unit), peer, ratio, verdict(s))
		if m := machine(s.On); !slices.Contains(machines, m) {
			machines = append(machines, m)
		}
	}
	b.WriteString("\n")
	for _, m := range machines {
		fmt.Fprintf(b, "Measured on %s.\n", m)
	}
}

func verdict(s record.Series) string {
	v, ok := s.Judged()
	if !ok {
		return "–"
	}
	bound := ""
	if s.Goal.Most != nil {
		bound = "≤ " + number(*s.Goal.Most)
	}
	if s.Goal.Least != nil {
		bound += "≥ " + number(*s.Goal.Least)
	}
	if s.Goal.Met(v) {
		return "met (" + bound + ")"
	}
	return "**missed** (" + bound + ")"
}

// three are the least, the middle and the greatest value, or the one that all of them are.
func three(values []float64, unit string) string {
	s := record.Summarize(values)
	text := number(s.Median)
	if s.Min != s.Max {
		text = fmt.Sprintf("%s / **%s** / %s", number(s.Min), number(s.Median), number(s.Max))
	}
	return strings.TrimSpace(text + " " + unit)
}

// number has three significant digits and no exponent.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// count separates thousands.
func count(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func machine(m record.Machine) string {
	how := ""
	if m.Emulated {
		how = " emulated"
	}
	var versions []string
	for _, name := range slices.SortedFunc(maps.Keys(m.Versions), cmp.Compare) {
		versions = append(versions, name+" "+m.Versions[name])
	}
	text := fmt.Sprintf("%s: %d%s processors (%s), kernel %s", m.Date.UTC().Format("2006-01-02"), m.Processors, how, m.Processor, m.Kernel)
	if len(versions) > 0 {
		text += ", " + strings.Join(versions, ", ")
	}
	return text
}

func slug(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(text)), "-")
}
