import Foundation

/// One session with Parley: a POST for each bit of speech, one endless WAV back.
final class Conversation {
    struct Session: Decodable {
        let id: String
        let status: String
    }

    struct Refused: Error {
        let status: Int
    }

    private let server: URL
    private let token: String?
    private let sound = Sound(rate: 24_000)
    private var session: Session?
    private var isOver = false

    init(server: URL, token: String?) {
        self.server = server
        self.token = token
    }

    private func request(_ method: String, _ path: String) -> URLRequest {
        var request = URLRequest(url: URL(string: path, relativeTo: server)!)
        request.httpMethod = method
        if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization") }
        return request
    }

    /// Talk and listen until `stop`.
    func run() async throws {
        var create = request("POST", "/api/sessions")
        create.setValue("application/json", forHTTPHeaderField: "Content-Type")
        let wanted: [String: Any] = ["objective": "talk", "fileIds": [String](), "sampleRate": 24_000]
        create.httpBody = try JSONSerialization.data(withJSONObject: wanted)
        session = try JSONDecoder().decode(Session.self, from: try await URLSession.shared.data(for: create).0)
        _ = try await URLSession.shared.data(for: request("POST", "/api/sessions/\(session!.id)/start"))

        let (speech, microphone) = AsyncStream.makeStream(of: Data.self, bufferingPolicy: .bufferingNewest(50))  // two seconds
        try sound.start { microphone.yield($0) }
        async let talking: Void = talk(speech)
        try await listen()
        microphone.finish()
        await talking
        sound.stop()
    }

    /// One request after the other, on one connection that is kept.
    private func talk(_ speech: AsyncStream<Data>) async {
        for await bit in speech {
            var upload = request("POST", "/api/sessions/\(session!.id)/upload_audio")
            upload.setValue("application/octet-stream", forHTTPHeaderField: "Content-Type")
            upload.httpBody = bit
            upload.timeoutInterval = 5
            _ = try? await URLSession.shared.data(for: upload)  // what a broken line takes with it is not heard
        }
    }

    /// It comes at the pace at which it is played, silence too: an interruption needs nothing of us.
    private func listen() async throws {
        var tries = 0
        while !isOver, tries < 6 {
            do {
                var stream = request("GET", "/api/sessions/\(session!.id)/stream_audio")
                stream.timeoutInterval = 10
                let (bytes, response) = try await URLSession.shared.bytes(for: stream)
                switch (response as! HTTPURLResponse).statusCode {
                case 200: break
                case 429, 503: throw URLError(.resourceUnavailable)  // dial again in a while
                case let status: throw Refused(status: status)
                }
                var header = 44, pcm = Data()
                for try await byte in bytes {
                    if header > 0 { header -= 1; continue }
                    pcm.append(byte)
                    if pcm.count == 1920 {  // 40 ms
                        sound.play(pcm)
                        pcm.removeAll(keepingCapacity: true)
                        tries = 0
                    }
                }
            } catch let refused as Refused {
                throw refused
            } catch {}  // the line broke
            if !isOver { try await Task.sleep(nanoseconds: UInt64(min(8, 0.5 * pow(2, Double(tries))) * 1e9)) }
            tries += 1
        }
    }

    /// The session ends, and with it the stream.
    func stop() async throws {
        isOver = true
        guard let session else { return }
        _ = try await URLSession.shared.data(for: request("POST", "/api/sessions/\(session.id)/stop_stream"))
        _ = try await URLSession.shared.data(for: request("POST", "/api/sessions/\(session.id)/complete"))
    }
}
