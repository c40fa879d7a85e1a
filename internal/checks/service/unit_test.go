package service_test

import (
	"testing"

	"allclear.dev/allclear/internal/check"
	"allclear.dev/allclear/internal/check/checktest"
	"allclear.dev/allclear/internal/checks/service"
)

// A parameter that a driver would not heed is refused.
func TestParametersOfTheDrivers(t *testing.T) {
	var cases []checktest.Case
	for params, want := range map[string]string{
		"{units: [a]}": "unit a: driver: process needs pid_file",
		"{user: root, units: [{name: a, pid_file: p}]}":                         "user is not for driver: process",
		"{state: healthy, units: [{name: a, pid_file: p}]}":                     "unit a: state: healthy needs healthy...",
		"{units: [{name: a, pid_file: p, image: i}]}":                           "unit a: image is for containers",
		"{do: stop, state: healthy, units: [{name: a, pid_file: p, run: [b]}]}": "state: stopped is for looking only...",
		"{driver: systemd, units: [{name: a, run: [b]}]}":                       "unit a: run is for driver: process; systemd knows how the unit is run",
		"{driver: systemd, units: ['web*']}":                                    "unit web*: is not the name of a systemd unit",
		"{driver: systemd, units: ['-web']}":                                    "unit -web: is not the name of a systemd unit",
		"{driver: systemd, units: [app.target]}":                                "unit app.target: only service units...",
		"{driver: systemd, units: [{name: beat, exactly: 1}]}":                  "unit beat: exactly needs match...",
		"{driver: systemd, state: healthy, units: [web]}":                       "unit web: state: healthy needs healthy...",
		"{driver: systemd, units: [{name: web, image: i}]}":                     "unit web: image is for containers",
		"{driver: systemd, stop_timeout: 3s, units: [web]}":                     "stop_timeout is not for driver: systemd",
		"{driver: systemd, project: shop, units: [web]}":                        "project is not for driver: systemd",
		"{driver: compose, scope: user, units: [web]}":                          "scope is not for driver: compose",
		"{driver: compose, namespace: shop, units: [web]}":                      "namespace is not for driver: compose",
		"{driver: compose, project: '--all', units: [web]}":                     `"--all" begins with -`,
		"{driver: compose, files: ['-'], units: [web]}":                         `"-" begins with -`,
		"{driver: compose, stop_timeout: 300ms, units: [web]}":                  "stop_timeout is in whole seconds...",
		"{driver: compose, units: ['web;reboot']}":                              "unit web;reboot: is not the name of a compose service",
		"{driver: compose, units: [{name: web, match: w}]}":                     "unit web: match is for processes...",
		"{driver: kubernetes, files: [a], units: [web]}":                        "files is not for driver: kubernetes",
		"{driver: kubernetes, do: reload, units: [web]}":                        "driver: kubernetes has no reload...",
		"{driver: kubernetes, units: [pod/web]}":                                "unit pod/web: is not deployment/NAME...",
		"{driver: kubernetes, units: ['deployment/-o']}":                        "unit deployment/-o: is not the name of a Kubernetes object",
		"{driver: kubernetes, do: stop, units: [daemonset/a]}":                  "unit daemonset/a: a daemonset runs wherever...",
		"{driver: kubernetes, units: [{name: web, match: w}]}":                  "unit web: match is for processes...",
		"{driver: kubernetes, do: start, units: [{name: web, exactly: 0}]}":     "unit web: exactly must be at least 1",
	} {
		cases = append(cases, checktest.Case{Name: params, Params: params, Want: "problem: ...service: " + want})
	}
	checktest.Run(t, service.Service, cases)
}

// Only a program that is kept running by allclear itself needs this machine.
func TestOnlyProcessesAreSupervised(t *testing.T) {
	for params, want := range map[string]check.Traits{
		"{do: restart, units: [{name: a, pid_file: p, run: [b]}]}": {Supervises: true, Class: check.Probed, Does: "restarts a"},
		"{do: restart, driver: systemd, units: [a]}":               {Class: check.Probed, Does: "restarts a (systemd)"},
		"{do: stop, driver: compose, units: [a, b]}":               {Class: check.Probed, Does: "stops a, b (compose)", Undo: "starts what it stopped"},
		"{do: start, driver: kubernetes, units: [a]}":              {Class: check.Probed, Does: "starts a (kubernetes)", Undo: "stops what it started"},
		"{do: reload, driver: systemd, units: [a]}":                {Class: check.Idempotent, Does: "reloads a (systemd)"},
		"{driver: systemd, units: [a]}":                            {Class: check.Pure, Does: "looks at a"},
	} {
		inst, problems := checktest.Decode(service.Service, params, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		got := inst.Traits
		if got.Supervises != want.Supervises || got.Class != want.Class || got.Does != want.Does || got.Undo != want.Undo {
			t.Errorf("%s: got %+v", params, got)
		}
	}
}
