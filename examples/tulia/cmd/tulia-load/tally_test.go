package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	y := newTally(10, start)
	for n, r := range []result{
		{status: 200, version: "1"}, {status: 404, version: "1"}, {status: 500, version: "2"},
		{status: 502}, {err: fmt.Errorf("dial: %w", syscall.ECONNREFUSED)}, {err: syscall.ECONNRESET},
		{err: os.ErrDeadlineExceeded}, {err: errCutOff, status: 200}, {err: errors.New("EOF")},
		{status: 503, maintenance: true},
	} {
		due := start.Add(time.Duration(n) * 100 * time.Millisecond)
		if !y.begin() {
			t.Fatal("not begun")
		}
		y.end(due, due.Add(10*time.Millisecond), r)
	}
	path := filepath.Join(t.TempDir(), "s.json")
	if err := y.write(path, true, start.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if s.OK != 1 || s.Refused != 1 || s.ServerError != 1 || s.Dropped != 6 || s.Maintenance != 1 || s.InFlight != 0 || s.Sent != 10 {
		t.Errorf("%+v", s)
	}
	if s.DroppedSeconds != 0.6 || s.DowntimeSeconds != 0.7 || len(s.DroppedBy) != 6 || len(s.Gaps) != 2 || s.Gaps[0].Requests != 6 {
		t.Errorf("%+v", s)
	}
	if p := s.Latency["p50"]; p < 9.8 || p > 10.2 {
		t.Errorf("p50 = %v ms, want about 10", p)
	}
}

func TestTallyIsBounded(t *testing.T) {
	y := newTally(1, time.Unix(0, 0))
	for range maxInFlight {
		y.begin()
	}
	if y.begin() || y.s.NotSent != 1 || y.s.Sent != maxInFlight {
		t.Errorf("%+v", y.s)
	}
	for n := range maxGaps + 5 {
		y.fail("dropped", time.Unix(int64(n)*10, 0))
	}
	if len(y.s.Gaps) != maxGaps {
		t.Errorf("%d gaps", len(y.s.Gaps))
	}
}

func TestParse(t *testing.T) {
	good := []string{"-url", "u", "-out", "o", "-email", "e", "-tenant", "t", "-customer", "c", "-service", "s"}
	if _, err := parse(good); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]string{{"-rate", "0"}, {"-rate", "2001"}, {"-for", "2h"}, {"-every", "0s"}, {"-url", ""}, {"-nonsense"}} {
		if _, err := parse(append(good[:len(good):len(good)], bad...)); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}
