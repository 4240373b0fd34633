package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/controller/store"
)

// Sorts of refusals; Refusal.Is matches them.
var (
	// ErrInvalid: the resource itself is wrong, whatever else there is.
	ErrInvalid = errors.New("invalid")
	// ErrPrecondition: something else must change first.
	ErrPrecondition = errors.New("not possible now")
	// ErrQuota: there are too many.
	ErrQuota = errors.New("quota exceeded")
	// ErrNotFound: there is no such resource.
	ErrNotFound = errors.New("not found")
	// ErrExists: there already is one.
	ErrExists = errors.New("already exists")
	// ErrStale: it has changed since it was read.
	ErrStale = errors.New("changed meanwhile")
)

// Refusal says why a write did not take place; nothing was changed.
type Refusal struct {
	Sort     error
	Findings []*apiv1.Finding
}

// Refuse returns a Refusal with one finding.
func Refuse(sort error, ref store.Ref, field, format string, args ...any) *Refusal {
	return &Refusal{Sort: sort, Findings: []*apiv1.Finding{
		{Object: apiv1.ObjectName(ref.Kind, ref.Name), Field: field, Message: fmt.Sprintf(format, args...)},
	}}
}

// Is implements the match of errors.Is.
func (r *Refusal) Is(target error) bool { return target == r.Sort }

// told is how many findings the text of a Refusal has.
const told = 8

// Error has the findings: "VPNTunnel/shop-1: spec.mtu: must be …".
func (r *Refusal) Error() string {
	var parts []string
	for i, f := range r.Findings {
		if i == told {
			parts = append(parts, fmt.Sprintf("and %d more", len(r.Findings)-told))
			break
		}
		words := []string{f.GetObject(), f.GetField(), f.GetMessage()}
		parts = append(parts, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ": "))
	}
	return strings.Join(parts, "; ")
}
