package cli

import (
	"slices"
	"testing"
)

// What makes most items ready comes first; what comes only with others is counted
// where the last of them is.
func TestUnlocks(t *testing.T) {
	item := func(targets ...string) examined { return examined{Ready: lacks, Targets: targets} }
	got := unlocks([]examined{
		item("url"), item("url"), item("database"), item("url", "token"), item("token", "database"), item("a", "b"),
		{Ready: ready, Targets: []string{"nothing"}}, {Ready: lacks, Found: "unreachable"},
	})
	want := []unlock{{"url", 2, 2}, {"database", 1, 3}, {"token", 2, 5}, {"a", 0, 5}, {"b", 1, 6}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
