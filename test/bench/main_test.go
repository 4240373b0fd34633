package main

import (
	"strings"
	"testing"

	"github.com/bordergw/bordergw/test/bench/page"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"-run", "idle,read", "-size", "large", "-count", "7"})
	if err != nil || !o.wants("idle") || !o.wants("read") || o.wants("outage") || o.size != "large" || o.count != 7 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse(nil); err != nil || !o.wants("outage") {
		t.Errorf("all rows: %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-run", "idel"}, {"-size", "huge"}, {"-count", "0"}} {
		if _, err := parse(args); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestRowsAreDescribed: whatever is measured has its place on the page.
func TestRowsAreDescribed(t *testing.T) {
	described := map[string]bool{}
	for _, d := range page.Descriptions() {
		described[d.Name] = true
	}
	for row := range labRows() {
		if !described[row] {
			t.Errorf("row %s of the lab is not on the page", row)
		}
	}
	for _, f := range figures() {
		if !described[f.row] {
			t.Errorf("row %s of %s is not on the page", f.row, f.benchmark)
		}
	}
}
