package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// attack is a request that must be refused, or answered without giving anything away.
type attack struct {
	rule, says   string
	method, path string
	header       http.Header
	body         string
	status       []int // what is right
	lacks        []string
	severity     string
}

// attacks are what the probe tries, by what a tester would look for first.
func attacks() []attack {
	const forged = "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0."
	secrets := []string{"goroutine ", "SQLSTATE", "/src/", "panic:"}
	return []attack{
		{"no-login", "an address that needs a login answers without one", "GET", "/v1/orders", nil, "", []int{401}, secrets, "9.1"},
		{"forged-token", "a token without a signature is accepted", "GET", "/v1/auth/me", http.Header{"Authorization": {forged}}, "", []int{401}, secrets, "9.8"},
		{"admin-open", "administration answers without a login", "GET", "/v1/admin/tenants", nil, "", []int{401, 403}, secrets, "9.8"},
		{"injection", "a quote in an address reaches the database", "GET", "/v1/webhooks/events/'%20OR%20'1'='1", nil, "", []int{400, 401, 404}, secrets, "9.8"},
		{"login-injection", "a quote in a login reaches the database", "POST", "/v1/auth/login", nil, `{"email":"' OR 1=1 --","password":"x"}`, []int{400, 401, 429}, secrets, "9.8"},
		{"malformed", "a malformed body is an error of the server", "POST", "/v1/auth/login", nil, `{"email":`, []int{400, 401, 429}, secrets, "5.3"},
		{"traversal", "a path leads out of the static files", "GET", "/static/..%2f..%2fetc/passwd", nil, "", []int{400, 404}, append(secrets, "root:"), "7.5"},
		{"unsigned-webhook", "a payment notice counts without a signature", "POST", "/v1/webhooks/payments", nil, `{"event_id":"x"}`, []int{400, 401}, secrets, "9.1"},
		{"trace", "TRACE is answered", "TRACE", "/v1/health/live", nil, "", []int{400, 401, 404, 405, 501}, secrets, "5.3"},
		{"error-page", "an unknown address shows how the server is made", "GET", "/no-such-page", nil, "", []int{404}, secrets, "5.3"},
	}
}

// SARIF 2.1.0, as far as it is used (https://docs.oasis-open.org/sarif/sarif/v2.1.0/).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        map[string]sarifDriver `json:"tool"`
		Invocations []map[string]bool      `json:"invocations"`
		Artifacts   []sarifArtifact        `json:"artifacts"`
		Results     []sarifResult          `json:"results"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string            `json:"id"`
		Text       map[string]string `json:"shortDescription"`
		Properties map[string]string `json:"properties"`
	}
	sarifArtifact struct {
		Location map[string]string `json:"location"`
	}
	sarifResult struct {
		Rule      string            `json:"ruleId"`
		Level     string            `json:"level"`
		Message   map[string]string `json:"message"`
		Locations []sarifPlace      `json:"locations"`
	}
	sarifPlace struct {
		Physical map[string]map[string]string `json:"physicalLocation"`
	}
)

// probe tries the attacks on what is live and writes what was found as SARIF. An attack that gets no answer is an error:
// nothing is known then.
func (s *site) probe(ctx context.Context, out io.Writer) error {
	run := sarifRun{Invocations: []map[string]bool{{"executionSuccessful": true}}, Results: []sarifResult{}}
	driver := sarifDriver{Name: "tulia-deploy probe"}
	client := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, a := range attacks() {
		driver.Rules = append(driver.Rules, sarifRule{a.rule, map[string]string{"text": a.says}, map[string]string{"security-severity": a.severity}})
		run.Artifacts = append(run.Artifacts, sarifArtifact{map[string]string{"uri": s.Public + a.path}})
		found, err := a.try(ctx, client, s.Public)
		if err != nil {
			return fmt.Errorf("probe %s: %w", a.rule, err)
		}
		if found != "" {
			run.Results = append(run.Results, sarifResult{a.rule, "error", map[string]string{"text": a.says + ": " + found},
				[]sarifPlace{{map[string]map[string]string{"artifactLocation": {"uri": s.Public + a.path}}}}})
		}
	}
	run.Tool = map[string]sarifDriver{"driver": driver}
	return json.NewEncoder(out).Encode(sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

// try sends the request and says what is wrong with the answer.
func (a attack) try(ctx context.Context, client *http.Client, base string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, a.method, base+a.path, strings.NewReader(a.body))
	if err != nil {
		return "", err
	}
	for name, values := range a.header {
		request.Header[name] = values
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return "", err
	}
	for _, text := range a.lacks {
		if strings.Contains(string(body), text) {
			return fmt.Sprintf("the answer holds %q", text), nil
		}
	}
	for _, status := range a.status {
		if answer.StatusCode == status {
			return "", nil
		}
	}
	return "it answers " + answer.Status, nil
}
