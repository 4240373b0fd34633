package model

import (
	"errors"
	"fmt"
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

// Error has every finding: "VPNTunnel/shop-1: spec.mtu: must be …".
func (r *Refusal) Error() string {
	parts := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		words := []string{f.GetObject(), f.GetField(), f.GetMessage()}
		if f.GetField() == "" {
			words = []string{f.GetObject(), f.GetMessage()}
		}
		parts[i] = strings.Join(words, ": ")
	}
	return strings.Join(parts, "; ")
}
