import Foundation

/// One conversation with Parley: Server-Sent Events down, one endless POST up.
final class Conversation: NSObject, URLSessionTaskDelegate {
    private let server: URL
    private let token: String?
    private let id = UUID().uuidString
    private let sound = Sound(rate: 24_000)
    private let queue = DispatchQueue(label: "uplink")
    private lazy var uploads = URLSession(configuration: .default, delegate: self, delegateQueue: nil)
    private var body: InputStream?
    private var uplink: OutputStream?
    private var waiting = Data()  // what has not gone into the uplink
    private var isTalking = false
    private var hasEnded = false
    var onText: (String) -> Void = { _ in }

    struct Refused: Error {
        let status: Int
    }

    init(server: URL, token: String?) {
        self.server = server
        self.token = token
    }

    private func request(_ method: String, _ path: String) -> URLRequest {
        var parts = URLComponents(url: server, resolvingAgainstBaseURL: false)!
        parts.path = path
        parts.queryItems = [URLQueryItem(name: "conversationId", value: id)]
        var request = URLRequest(url: parts.url!)
        request.httpMethod = method
        request.timeoutInterval = 30  // something comes every 15 s at least
        if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization") }
        return request
    }

    /// Listen until the conversation has ended, however often the stream breaks.
    func run() async throws {
        var lastID: String?
        var tries = 0
        while !hasEnded, tries < 6 {
            do {
                var stream = request("GET", "/realtime/stream")
                if let lastID { stream.setValue(lastID, forHTTPHeaderField: "Last-Event-ID") }
                let (bytes, response) = try await URLSession.shared.bytes(for: stream)
                switch (response as! HTTPURLResponse).statusCode {
                case 200: break
                case 204: hasEnded = true  // while we were away
                case 429, 503: throw URLError(.resourceUnavailable)  // dial again in a while
                case let status: throw Refused(status: status)
                }
                var name = "", eventID: String?
                for try await line in bytes.lines {  // empty lines are left out; each event has exactly one of data, its last
                    if line.hasPrefix("id: ") { eventID = String(line.dropFirst(4)) }
                    if line.hasPrefix("event: ") { name = String(line.dropFirst(7)) }
                    if line.hasPrefix("data: ") {
                        try hear(name, String(line.dropFirst(6)))
                        lastID = eventID ?? lastID
                        eventID = nil
                        tries = 0
                    }
                }
            } catch let refused as Refused {
                throw refused
            } catch {}  // the line broke
            if !hasEnded { try await Task.sleep(nanoseconds: UInt64(min(8, 0.5 * pow(2, Double(tries))) * 1e9)) }
            tries += 1
        }
        sound.stop()
    }

    private func hear(_ name: String, _ data: String) throws {
        switch name {
        case "conversation_started":
            try speak()
        case "speech_started":  // the user speaks: be silent, Parley tells the model
            sound.hush()
        case "audio_response":
            sound.play(Data(base64Encoded: data)!)
        case "transcript_complete", "error":
            onText(data)
        case "conversation_ended":
            hasEnded = true
        default:
            break  // more may come to be
        }
    }

    /// The microphone into a body that does not end; a new one each time that the stream has begun.
    private func speak() throws {
        queue.sync {
            uplink?.close()
            var input: InputStream?, output: OutputStream?
            Stream.getBoundStreams(withBufferSize: 65_536, inputStream: &input, outputStream: &output)
            (body, uplink, waiting) = (input, output, Data())
            output!.open()
        }
        var upload = request("POST", "/realtime/upload")
        upload.setValue("application/octet-stream", forHTTPHeaderField: "Content-Type")
        upload.timeoutInterval = 86_400
        uploads.uploadTask(withStreamedRequest: upload).resume()
        if !isTalking { try sound.start { [weak self] speech in self?.say(speech) } }
        isTalking = true
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, needNewBodyStream give: @escaping (InputStream?) -> Void) {
        give(queue.sync { body })
    }

    private func say(_ speech: Data) {
        queue.async { [self] in
            if waiting.count < 96_000 { waiting += speech }  // two seconds; what is said beyond them is not heard
            while let uplink, uplink.hasSpaceAvailable, !waiting.isEmpty {
                let sent = waiting.withUnsafeBytes { uplink.write($0.bindMemory(to: UInt8.self).baseAddress!, maxLength: $0.count) }
                guard sent > 0 else { break }
                waiting.removeFirst(sent)
            }
        }
    }

    /// What was said is answered; then `conversation_ended` comes, and `run` returns.
    func end() async throws {
        queue.sync { uplink?.close() }
        _ = try await URLSession.shared.data(for: request("POST", "/realtime/end"))
    }
}
