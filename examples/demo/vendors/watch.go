package vendors

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
)

// watch is what looks at the application and wakes people: UptimeRobot (https://uptimerobot.com/api/v3/), PagerDuty
// (https://developer.pagerduty.com/api-reference), and Alertmanager's receivers. The messenger is Twilio
// (https://www.twilio.com/docs/iam/api/account).
func (s *Server) watch() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /uptimerobot/monitors": func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, map[string]any{"data": []map[string]any{{
				"id": 1, "friendlyName": "Tulia", "url": s.Watched, "status": "UP", "interval": 60, "assignedAlertContacts": []map[string]int{{"alertContactId": 1}},
			}}, "nextLink": nil})
		},
		"GET /pagerduty/oncalls": s.oncalls,
		"POST /alerts":           func(http.ResponseWriter, *http.Request) {},
		"POST /channel":          func(http.ResponseWriter, *http.Request) {},
		"GET /twilio/2010-04-01/Accounts/{file}": func(w http.ResponseWriter, r *http.Request) {
			reply(w, http.StatusOK, map[string]string{"sid": r.PathValue("file")[:len(r.PathValue("file"))-len(".json")], "status": "active", "type": "Full"})
		},
	}
}

// oncalls lists two people, one behind the other, who are always on call.
func (s *Server) oncalls(w http.ResponseWriter, r *http.Request) {
	var list []map[string]any
	for level, name := range s.Reviewers {
		entry := map[string]any{
			"escalation_policy": map[string]string{"id": "PTULIA", "summary": "Tulia"}, "escalation_level": level + 1, "start": nil, "end": nil,
			"user":     map[string]any{"id": "P" + name, "summary": name, "contact_methods": []map[string]string{{"type": "phone_contact_method"}}},
			"schedule": map[string]string{"id": "STULIA", "summary": "Tulia"},
		}
		list = append(list, entry)
	}
	reply(w, http.StatusOK, map[string]any{"oncalls": list, "more": false})
}

// grafana is Grafana (https://grafana.com/docs/grafana/latest/developers/http_api/) with one dashboard, whose panels ask the
// demo's Prometheus.
func (s *Server) grafana() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /grafana/api/dashboards/uid/tulia": func(w http.ResponseWriter, _ *http.Request) {
			text, err := os.ReadFile(s.Dashboard)
			if err != nil {
				missing(w)
				return
			}
			reply(w, http.StatusOK, map[string]any{"dashboard": json.RawMessage(text), "meta": map[string]string{"url": "/d/tulia", "updated": "2026-11-24T00:00:00Z"}})
		},
		"POST /grafana/api/ds/query": s.panel,
	}
}

// panel asks Prometheus for the present value of each query.
func (s *Server) panel(w http.ResponseWriter, r *http.Request) {
	var question struct {
		Queries []struct{ RefID, Expr string }
	}
	if !read(w, r, &question) {
		return
	}
	results := map[string]any{}
	for _, q := range question.Queries {
		answer, err := http.Get(s.Prometheus + "/api/v1/query?query=" + url.QueryEscape(q.Expr))
		if err != nil {
			reply(w, http.StatusBadGateway, map[string]string{"message": err.Error()})
			return
		}
		var found struct {
			Data struct {
				Result []struct{ Value []any }
			}
		}
		err = json.NewDecoder(answer.Body).Decode(&found)
		_ = answer.Body.Close()
		if err != nil {
			reply(w, http.StatusBadGateway, map[string]string{"message": err.Error()})
			return
		}
		times, values := []any{}, []any{}
		for _, series := range found.Data.Result {
			times, values = append(times, series.Value[0]), append(values, series.Value[1])
		}
		results[q.RefID] = map[string]any{"frames": []map[string]any{{
			"schema": map[string]any{"fields": []map[string]string{{"type": "time"}, {"type": "number"}}}, "data": map[string]any{"values": [][]any{times, values}},
		}}}
	}
	reply(w, http.StatusOK, map[string]any{"results": results})
}
