package manifest

import (
	"cmp"
	"fmt"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
)

// Position is a place in a file; Line counts from 1.
type Position struct {
	File string
	Line int
}

// Positions remembers where objects and their fields stand.
type Positions struct {
	at map[place]Position
}

type place struct{ object, field string }

func (p *Positions) set(object, field string, at Position) {
	if p.at == nil {
		p.at = map[place]Position{}
	}
	p.at[place{object, field}] = at
}

// Find returns where a field stands ("spec.attachments[0].peer.asn"), or the nearest thing around it that does: its parent's
// first line, at last the object's. False when the object is not known.
func (p *Positions) Find(object, field string) (Position, bool) {
	for {
		if at, ok := p.at[place{object, field}]; ok {
			return at, true
		}
		if field == "" {
			return Position{}, false
		}
		field = parent(field)
	}
}

// Exact returns where a field stands itself; false when the file leaves it out.
func (p *Positions) Exact(object, field string) (Position, bool) {
	at, ok := p.at[place{object, field}]
	return at, ok
}

// Locate fills file and line of findings that have none.
func (p *Positions) Locate(findings []*apiv1.Finding) {
	for _, f := range findings {
		if f.Line != 0 {
			continue
		}
		if at, ok := p.Find(f.Object, f.Field); ok {
			f.File, f.Line = at.File, uint32(at.Line)
		}
	}
}

// parent cuts the last step off a field path.
func parent(field string) string {
	return field[:max(strings.LastIndexAny(field, ".["), 0)]
}

// Format prints a finding as FILE:LINE: Kind/name: field: message, leaving out what is not known.
func Format(f *apiv1.Finding) string {
	var b strings.Builder
	if f.GetFile() != "" {
		b.WriteString(f.GetFile())
		if f.GetLine() != 0 {
			fmt.Fprintf(&b, ":%d", f.GetLine())
		}
		b.WriteString(": ")
	}
	if f.GetWarning() {
		b.WriteString("warning: ")
	}
	for _, part := range []string{f.GetObject(), f.GetField()} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(f.GetMessage())
	return b.String()
}

// compare orders findings as a reader goes through the files.
func compare(a, b *apiv1.Finding) int {
	return cmp.Or(cmp.Compare(a.GetFile(), b.GetFile()), cmp.Compare(a.GetLine(), b.GetLine()))
}
