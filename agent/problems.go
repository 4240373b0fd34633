package agent

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/bordergw/bordergw/agent/plan"
	apiv1 "github.com/bordergw/bordergw/api/v1"
	"github.com/bordergw/bordergw/dataplane/link"
)

// problems collects what went wrong in one round, by object: one bad object never keeps the others from being tried.
type problems struct {
	list []problem
	// retry says that trying again may help; what an event will tell needs no retry.
	retry bool
}

type problem struct {
	kind, object, message string
}

// add records that object could not be made so.
func (p *problems) add(object string, err error) { p.addConflict(object, err, false) }

// addConflict is add, with whether something that is not ours is in the way.
func (p *problems) addConflict(object string, err error, conflict bool) {
	kind := apiv1.ConditionNotProgrammed
	if conflict {
		kind = apiv1.ConditionConflict
	}
	p.list = append(p.list, problem{kind: kind, object: object, message: err.Error()})
	p.retry = true
}

// note records something that an operator should know and that a retry does not change.
func (p *problems) note(kind, object, format string, args ...any) {
	p.list = append(p.list, problem{kind: kind, object: object, message: fmt.Sprintf(format, args...)})
}

// errs is all of them for the log.
func (p *problems) errs() string {
	var out []string
	for _, x := range p.list {
		out = append(out, x.object+": "+x.message)
	}
	return strings.Join(out, "; ")
}

// conditions are the problems as the API shows them. A problem that was there before keeps its since-time.
func (p *problems) conditions(previous []*apiv1.Condition, now time.Time) []*apiv1.Condition {
	since := map[problem]*timestamppb.Timestamp{}
	for _, c := range previous {
		since[problem{c.GetType(), c.GetObject(), c.GetMessage()}] = c.GetSince()
	}
	slices.SortFunc(p.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.kind, b.kind), cmp.Compare(a.message, b.message))
	})
	var out []*apiv1.Condition
	for _, x := range slices.Compact(p.list) {
		at, ok := since[x]
		if !ok {
			at = timestamppb.New(now.Truncate(time.Second))
		}
		out = append(out, &apiv1.Condition{Type: x.kind, Object: x.object, Message: x.message, Since: at})
	}
	return out
}

// linkObject is the resource that a key of link.Result.Errors is about.
func linkObject(g *plan.Gateway, key string) string {
	if tunnel, ok := strings.CutPrefix(key, link.ObjectTunnel); ok {
		return apiv1.KindVPNTunnel + "/" + tunnel
	}
	return apiv1.KindBorderGateway + "/" + g.Name
}
