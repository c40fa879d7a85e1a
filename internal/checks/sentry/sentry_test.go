package sentry_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/rest/resttest"
)

func itoa(n int) string { return strconv.Itoa(n) }

func instance(t *testing.T, typ *check.Type, params string) *check.Instance {
	t.Helper()
	inst, problems := checktest.Decode(typ, params, nil)
	if inst == nil {
		t.Fatal(problems)
	}
	return inst
}

// checkRun runs once and compares; it gives the error.
func checkRun(t *testing.T, typ *check.Type, params string, set func(*check.Env), want string) error {
	t.Helper()
	env := checktest.NewEnv(t)
	set(env)
	o, err := instance(t, typ, params).Runner.Run(t.Context(), env)
	got := string(o.Verdict) + ": " + o.Reason
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(t, want, got)
	return err
}

// faultRun runs while a service answers with a fault, which must be an error.
func faultRun(t *testing.T, fault string, typ *check.Type, params string, set func(*check.Env)) {
	t.Helper()
	env := checktest.NewEnv(t)
	set(env)
	ctx, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer stop()
	if o, err := instance(t, typ, params).Runner.Run(ctx, env); err == nil {
		t.Errorf("%s: got %s: %s, want an error", fault, o.Verdict, o.Reason)
	}
}

func examine(t *testing.T, typ *check.Type, params string, set func(*check.Env), want string) {
	t.Helper()
	env := checktest.NewEnv(t)
	set(env)
	got, err := instance(t, typ, params).Runner.(check.Examiner).Examine(t.Context(), env)
	if err != nil {
		got = "error: " + err.Error()
	}
	checktest.Match(t, want, got)
}

// faulty holds that every answer that is none leads to an error.
func faulty(t *testing.T, f *resttest.Fake, typ *check.Type, params string, set func(*check.Env)) {
	t.Helper()
	for _, fault := range resttest.Faults() {
		f.Fail(fault.Answer)
		faultRun(t, fault.Name, typ, params, set)
	}
	f.Fail(nil)
}
